"""Which images of a case a report shows: pairs of base and candidate that share prompt, index and seed."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.schema import CaseRecord, ImageRecord

PAIRS_SHOWN = 8


@dataclass(frozen=True)
class Pair:
    """The images of one (prompt, index): both models', or one model's where the other was not asked."""

    prompt: str
    index: int
    base: ImageRecord | None
    candidate: ImageRecord | None
    telling: bool  # whether it speaks against the claim


def pairs_of(record: CaseRecord) -> list[Pair]:
    """All pairs of a case: those that speak against its claim first, then by index.

    The claim group of a case may say for each image whether it speaks against the claim. Else a detected target does (where
    the claim asks for a high rate: an undetected one), and a candidate that is classified otherwise than base at the same
    seed. Where the case looks at the candidate, base's images speak neither for nor against.
    """
    images: dict[tuple[str, int], dict[str, ImageRecord]] = {}
    for image in record.images:
        images.setdefault((image.prompt, image.index), {})[image.model] = image
    wanted = record.claim is not None and record.claim.kind in {"rate_at_least", "validity"}
    judged = "candidate" if any("candidate" in sides for sides in images.values()) else "base"
    pairs = [
        Pair(prompt, index, sides.get("base"), sides.get("candidate"), _telling(sides, judged, wanted))
        for (prompt, index), sides in images.items()
    ]
    return sorted(pairs, key=lambda pair: (not pair.telling, pair.index))


def shown_pairs(record: CaseRecord) -> list[Pair]:
    """The pairs of a case that a report shows: at most `PAIRS_SHOWN`."""
    return pairs_of(record)[:PAIRS_SHOWN]


def _telling(sides: dict[str, ImageRecord], judged: str, wanted: bool) -> bool:
    if any(image.against is not None for image in sides.values()):
        return any(image.against for image in sides.values())
    detected = sides[judged].detected if judged in sides else None
    if detected is not None and detected is not wanted:
        return True
    labels = [sides[model].label for model in ("base", "candidate") if model in sides]
    return len(labels) == 2 and None not in labels and labels[0] != labels[1]
