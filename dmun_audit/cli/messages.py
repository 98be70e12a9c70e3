"""What commands print about an error."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError

_NEXT_LINE = "\n        "
"""A newline within a part of an error. What follows it is indented, so that it cannot pass for another part of the error."""


def error_text(error: UsageError) -> str:
    """The text of an error for the terminal. Names of files and texts of others in it give the terminal no commands."""
    from dmun_audit.report.formatting import printable

    parts = (error.what, error.why, error.remedy)
    return str(UsageError(*(printable(part).replace("\n", _NEXT_LINE) for part in parts)))
