"""Errors that a user can act on: what is wrong, why, what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

MOST_LETTERS = 300
"""Letters of another library's error that ours quotes."""

MOST_NAMED = 5
"""Run folders that one error names."""


class UsageError(Exception):
    """Bad input. Says what is wrong, why it is, and what to do; the command line turns it into exit code 4."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what = what
        self.why = why
        self.remedy = remedy
        super().__init__(what, why, remedy)

    @property
    def in_a_line(self) -> str:
        """What is wrong and why, in one line."""
        return f"{self.what} ({self.why})" if self.why else self.what

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append("  why:  " + self.why)
        if self.remedy:
            lines.append("  do:   " + self.remedy)
        return "\n".join(lines)


class LoadError(UsageError):
    """A model, a weights file or a judge that cannot be loaded, or that did not prove what it loaded."""


class StoreError(UsageError):
    """The store or the run folder cannot be read or written."""


class FolderOfRuns(UsageError):
    """A folder that holds run folders was given where one run is wanted.

    Attributes:
        path: The folder.
        runs: The run folders in it, the one that was written last first.
    """

    def __init__(self, path: Path, runs: Sequence[Path]) -> None:
        self.path, self.runs = path, tuple(runs)
        names = ", ".join("".join(sign if sign.isprintable() else "?" for sign in run.name) for run in runs[:MOST_NAMED])
        more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
        holds = f"it holds {len(runs)} runs" if len(runs) > 1 else "it holds a run"
        super().__init__(f"{path} is no run folder", f"{holds}: {names}{more}", f"name a run, such as {runs[0]}")

    def of(self, named: str, command: str) -> UsageError:
        """The same error with the user's own words for the folder, and with a command or an option that names a run."""
        return UsageError(f"{named} is no run folder", self.why, f"name a run: {command}")


def in_brief(error: BaseException) -> str:
    """The text of another library's error in one line, cut between words."""
    return textwrap.shorten(str(error), MOST_LETTERS, placeholder=" …")
