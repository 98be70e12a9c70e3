"""What `--judge` may say, decided without importing torch."""

from __future__ import annotations

import os

from dmun_audit.errors import LoadError

ATELIER_JUDGE = "atelier:judge"
KINDS_OF_JUDGE = "local-dir:PATH, open_clip:ARCH/TAG, hf-hub:OWNER/NAME or atelier:judge"


def judge_parts(reference: str) -> tuple[str, str | None]:
    """Name and weights tag of a judge as open_clip takes them. Raises LoadError for a reference of no known kind."""
    kind, _, rest = reference.partition(":")
    if kind == "open_clip" and "/" in rest:
        architecture, _, tag = rest.partition("/")
        return architecture, tag
    if kind == "local-dir" and rest:
        if not os.path.isfile(os.path.join(rest, "open_clip_config.json")):
            raise LoadError(
                f"judge {reference!r}: no open_clip_config.json in {rest}",
                "that file tells open_clip the architecture",
                "check the path",
            )
        return reference, None
    if kind == "hf-hub" and rest:
        return reference, None
    raise LoadError(f"judge {reference!r} is of no known kind", "", f"use {KINDS_OF_JUDGE}")


def check_judge(reference: str) -> None:
    """Raise LoadError unless `reference` names a judge: what can be known before anything is loaded."""
    if reference != ATELIER_JUDGE:
        judge_parts(reference)
