"""The images of a case in reports: pairs of base and candidate that share prompt, index and seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dmun_audit.evidence.schema import CaseRecord, ImageRecord, ProbeImage

PAIRS_SHOWN = 8

MANY_CASES = 200
"""Runs with more cases show fewer pairs of each case that did not fail, so that a browser opens their page at once."""

FEW_PAIRS = 2


@dataclass(frozen=True)
class Pair:
    """The images of one prompt and index, from both models or from one."""

    prompt: str
    index: int
    base: ImageRecord | None
    candidate: ImageRecord | None
    against_claim: bool  # whether it counts against the claim


def pairs_of(record: CaseRecord) -> list[Pair]:
    """All pairs of a case. Pairs that count against its claim come first, then pairs by index.

    The claim group of a case may say for each image whether it counts against the claim. Otherwise a pair counts against the
    claim if the target is detected, or, for a claim of a high rate, if it is not detected. It also does if base and candidate
    have different labels. An image of the candidate under its own settings stands in its place. If the case has candidate images, detections in base images do not count.
    """
    images: dict[tuple[str, int], dict[str, ImageRecord]] = {}
    for image in record.images:
        images.setdefault((image.prompt, image.index), {})["base" if image.model == "base" else "candidate"] = image
    wanted = record.claim is not None and record.claim.kind in {"rate_at_least", "validity"}
    judged = "candidate" if any("candidate" in sides for sides in images.values()) else "base"
    pairs = [
        Pair(prompt, index, sides.get("base"), sides.get("candidate"), _counts_against(sides, judged, wanted))
        for (prompt, index), sides in images.items()
    ]
    return sorted(pairs, key=lambda pair: (not pair.against_claim, pair.index))


def shown_pairs(record: CaseRecord, cases: int = 1) -> list[Pair]:
    """The first pairs of a case in a run of so many cases."""
    few = cases > MANY_CASES and not record.verdict.is_failure
    return pairs_of(record)[: FEW_PAIRS if few else PAIRS_SHOWN]


def attacked_pairs(record: CaseRecord) -> list[Pair]:
    """For an attack with the weights: the candidate's image under attack of each prompt and seed that comes closest to the target.

    Its partner is the base's image of the same prompt and seed without an attack. The closest come first.
    """
    if record.probe is None:
        return []
    plain = {(image.prompt, image.seed): image for image in record.images if image.model == "base"}
    ours = [image for image in record.probe.images if image.model == "candidate" and not image.placebo]
    best: dict[tuple[str, int | None], ProbeImage] = {}
    for image in sorted(ours, key=closeness, reverse=True):
        best.setdefault((image.prompt, image.seed), image)
    return [Pair(image.prompt, image.index, plain.get(unit), image, bool(image.detected)) for unit, image in best.items()]


def base_image(cases: Iterable[CaseRecord], pair: Pair) -> ImageRecord | None:
    """The base's image of a pair's prompt in any of these cases: with the same seed if there is one, else with another seed."""
    images = [image for case in cases for image in case.images if image.model == "base" and image.prompt == pair.prompt]
    return min(images, key=lambda image: (image.index != pair.index, image.index), default=None)


def closeness(image: ImageRecord) -> tuple[bool, float]:
    """Whether the target is detected in an image, and its score there: the higher one of both views, in [0, 1]."""
    return bool(image.detected), max(image.target_score or 0.0, image.view_score or 0.0)


def _counts_against(sides: dict[str, ImageRecord], judged: str, wanted: bool) -> bool:
    if any(image.against is not None for image in sides.values()):
        return any(image.against for image in sides.values())
    detected = sides[judged].detected if judged in sides else None
    if detected is not None and detected is not wanted:
        return True
    labels = [sides[model].label for model in ("base", "candidate") if model in sides]
    return len(labels) == 2 and None not in labels and labels[0] != labels[1]
