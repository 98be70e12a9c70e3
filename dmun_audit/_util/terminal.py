"""Text in terminal columns, as wcwidth counts them: a wide character takes two columns, a combining one none."""

from __future__ import annotations

from wcwidth import clip, width, wrap


def display_width(text: str) -> int:
    """The number of columns that `text` takes."""
    return width(text, control_codes="ignore")


def wrapped(text: str, columns: int, first: str = "", indent: str = "") -> list[str]:
    """`text` broken into lines of at most `columns` columns, never empty.

    The first line starts with `first`, the others with `indent`. White space collapses. A word too long for a line is cut.
    """
    words = " ".join(text.split())
    lines = wrap(words, columns, control_codes="ignore", initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return lines or [first]


def shortened(text: str, columns: int) -> str:
    """`text` in at most `columns` columns; an ellipsis stands for what is cut off."""
    if display_width(text) <= columns:
        return text
    return clip(text, 0, columns - 1, control_codes="ignore").rstrip() + "…"


def padded(text: str, columns: int) -> str:
    """`text` with spaces after it, at least `columns` columns wide."""
    return text + " " * (columns - display_width(text))
