"""Lines on pytest's terminal while tests run: lines that stay, and one line that is rewritten where the terminal can do that."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import nullcontext
from typing import Any

import pytest

SAVE, RESTORE, CLEAR = "\x1b7", "\x1b8", "\r\x1b[2K"
BELOW = "\x1bD\x1b[A"  # makes sure that there is a line below the current one; the cursor keeps its place


class TerminalLines:
    """Writes to the terminal, from the main thread and from another one. `has_workers`: whether tests run in other processes.

    Attributes:
        is_shown: Whether there is a terminal and pytest is not quiet (-q).
        is_live: Whether the terminal can rewrite a line.
    """

    def __init__(self, config: pytest.Config, *, has_workers: bool) -> None:
        self._terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = None if has_workers else config.pluginmanager.get_plugin("capturemanager")
        self.is_shown = self._terminal is not None and config.option.verbose >= 0
        self.is_live = self._terminal is not None and self._terminal.isatty() and _knows_sequences()
        self._has_state = self._is_paused = self._has_ended = False
        self._lock = threading.RLock()

    def line(self, text: str) -> None:
        """Write a line that stays."""
        if not self.is_shown:
            return
        with self._lock, self._uncaptured():
            self._terminal.ensure_newline()
            if self._terminal._tw.width_of_current_line:  # dots of pytest-xdist
                self._terminal.line("")
            self._terminal.write_line(text)
            self._terminal.flush()

    def state(self, text: str) -> None:
        """Write what will be rewritten, below what pytest wrote; a line that stays where the terminal cannot. Nothing while paused."""
        with self._lock:
            if self._is_paused or self._has_ended or not self.is_shown:
                return
            if not self.is_live:
                self.line(text)
                return
            width = shutil.get_terminal_size().columns
            self._has_state = True
            self._write(f"{BELOW}{SAVE}\x1b[B{CLEAR}{text[: width - 1]}{RESTORE}")

    def pause(self) -> None:
        """Take the state away and write none until `resume`: pytest is about to write."""
        with self._lock:
            self._is_paused = True
            self._clear()

    def resume(self) -> None:
        """Pytest has written."""
        self._is_paused = False

    def end(self) -> None:
        """Take the state away and write none any more."""
        with self._lock:
            self._has_ended = True
            self._clear()

    def _clear(self) -> None:
        if self._has_state:
            self._has_state = False
            self._write(f"{SAVE}\x1b[B{CLEAR}{RESTORE}")

    def _write(self, text: str) -> None:
        with self._uncaptured():
            self._terminal.write_raw(text, flush=True)

    def _uncaptured(self) -> Any:
        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()


def _knows_sequences() -> bool:
    """Whether a terminal of this kind moves its cursor as it is told."""
    return sys.platform != "win32" and os.environ.get("TERM", "dumb") != "dumb"
