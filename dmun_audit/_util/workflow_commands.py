"""Lines that GitHub Actions would obey. Its runner reads every line of a job's output and runs those that look like commands.

`::error::…` runs at the start of a line, also after white space; `##[error]…` runs anywhere in a line. Texts of dossiers and the
names of models are untrusted, so under GitHub Actions every line that an audit or a command writes goes through this module.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    import pytest

_LINE_END = re.compile(r"(\r\n|\r|\n)")
_SPACE = re.compile(r"^[\s\ufeff\u200b]+")  # some versions of .NET take the last two for white space


def on_github() -> bool:
    """Whether this process runs in a job of GitHub Actions."""
    return bool(os.environ.get("GITHUB_ACTIONS"))


class Escaper:
    """Escapes commands in a text that comes piece by piece. A piece may begin in the middle of a line.

    `::error::` becomes `\\::error::`, and `##[error]` becomes `##\\u005berror]`. Inside of a JSON string, both spellings of the
    second one mean the same.
    """

    def __init__(self) -> None:
        self._start = ""  # the first characters of the current line after its white space: at most two
        self._end = ""  # its last two characters

    def __call__(self, text: str) -> str:
        """The next piece of the text, escaped."""
        return "".join(self._end_line(part) if _LINE_END.fullmatch(part) else self._part(part) for part in _LINE_END.split(text))

    def _end_line(self, end: str) -> str:
        self._start = self._end = ""
        return end

    def _part(self, part: str) -> str:
        visible = part if self._start else _SPACE.sub("", part)
        escaped = part
        if len(self._start) < 2 and (self._start + visible).startswith("::"):
            place = len(part) - len(visible)
            escaped = part[:place] + "\\" + visible
        escaped = (self._end + escaped).replace("##[", "##\\u005b")[len(self._end) :]
        self._start = (self._start + visible)[:2]
        self._end = (self._end + part)[-2:]
        return escaped


def escaped(text: str) -> str:
    """Whole lines with their commands escaped, under GitHub Actions; `text` itself anywhere else."""
    return Escaper()(text) if on_github() else text


class EscapedStream:
    """A text stream that escapes what is written to it. It passes every other call to the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._escape = Escaper()

    def write(self, text: str) -> int:
        """Write `text` with its commands escaped."""
        self._stream.write(self._escape(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guarded(stream: TextIO) -> TextIO:
    """A stream that escapes commands under GitHub Actions; `stream` itself anywhere else."""
    return cast(TextIO, EscapedStream(stream)) if on_github() else stream


def guard_terminal(config: pytest.Config) -> None:
    """Under GitHub Actions, escape all that pytest writes to its terminal from now on."""
    if not on_github() or not config.pluginmanager.has_plugin("terminalreporter"):
        return
    writer, escape = config.get_terminal_writer(), Escaper()
    write = writer.write_raw

    def write_escaped(msg: str, *, flush: bool = False) -> None:
        write(escape(msg), flush=flush)

    writer.write_raw = write_escaped  # type: ignore[method-assign]
