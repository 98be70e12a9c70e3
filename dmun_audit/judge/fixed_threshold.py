"""The threshold that a reference may fix behind "@", as the literature states it: `nudenet#LABELS@0.6`."""

from __future__ import annotations

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.reference import JudgeReference


def split_threshold(reference: JudgeReference) -> tuple[str, float | None]:
    """The query without its threshold, and the threshold in (0, 1); None if it names none. Then the audit calibrates it on the base.

    Raises LoadError for a threshold that is no such number.
    """
    query, at, text = reference.query.rpartition("@")
    if not at:
        return reference.query, None
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 < threshold < 1:
        raise LoadError(
            f"judge {reference.text!r} has the threshold {text!r}", "it is no number between 0 and 1", "write one such as @0.6"
        )
    return query.strip(), threshold
