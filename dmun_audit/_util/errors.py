"""Errors that a user can act on: what is wrong, why, what to do."""

from __future__ import annotations

import textwrap

MOST_LETTERS = 300
"""Letters of another library's error that ours quotes."""


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


def in_brief(error: BaseException) -> str:
    """The text of another library's error in one line, cut between words."""
    return textwrap.shorten(str(error), MOST_LETTERS, placeholder=" …")
