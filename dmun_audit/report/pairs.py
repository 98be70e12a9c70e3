"""Which images of a case a report shows: pairs of base and candidate that share prompt, index and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAIRS_SHOWN = 8


@dataclass(frozen=True)
class Pair:
    """The images of one (prompt, index): both models', or one model's where the other was not asked."""

    prompt: str
    index: int
    base: Mapping[str, Any] | None
    candidate: Mapping[str, Any] | None
    telling: bool  # whether it speaks against the claim


def pairs_of(record: Mapping[str, Any]) -> list[Pair]:
    """All pairs of a case: those that speak against its claim first, then by index.

    Against the claim speaks a detected target (where the claim asks for a high rate: an undetected one), and a
    candidate that is classified otherwise than base at the same seed. Where the case looks at the candidate, base's
    images speak neither for nor against.
    """
    found: dict[tuple[str, int], dict[str, Mapping[str, Any]]] = {}
    for image in record.get("images") or ():
        place = (str(image.get("prompt", "")), int(image.get("index") or 0))
        found.setdefault(place, {})[str(image.get("model"))] = image
    wanted = (record.get("claim") or {}).get("kind") in {"rate_at_least", "validity"}
    judged = "candidate" if any("candidate" in sides for sides in found.values()) else "base"
    pairs = [
        Pair(prompt, index, sides.get("base"), sides.get("candidate"), _telling(sides, judged, wanted))
        for (prompt, index), sides in found.items()
    ]
    return sorted(pairs, key=lambda pair: (not pair.telling, pair.index))


def shown_pairs(record: Mapping[str, Any]) -> list[Pair]:
    """The pairs of a case that a report shows: at most `PAIRS_SHOWN`."""
    return pairs_of(record)[:PAIRS_SHOWN]


def shown_keys(record: Mapping[str, Any]) -> list[str]:
    """The keys of the images that a report shows of a case: those that its run folder needs."""
    sides = [side for pair in shown_pairs(record) for side in (pair.base, pair.candidate) if side]
    return list(dict.fromkeys(str(side["key"]) for side in sides if side.get("key")))


def _telling(sides: Mapping[str, Mapping[str, Any]], judged: str, wanted: bool) -> bool:
    detected = sides.get(judged, {}).get("detected")
    if detected is not None and bool(detected) is not wanted:
        return True
    labels = [sides[model].get("label") for model in ("base", "candidate") if model in sides]
    return len(labels) == 2 and None not in labels and labels[0] != labels[1]
