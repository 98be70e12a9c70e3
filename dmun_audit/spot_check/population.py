"""The images that a spot-check draws from: every image of the evidence that the judge answered for, in strata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from dmun_audit._util.hashing import seed_of
from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.verdict.vocabulary import Verdict

_KEY = re.compile(r"[0-9a-f]{64}")


class Stratum(NamedTuple):
    """Images of one model and one kind of prompt that got one answer of the judge."""

    place: str  # a key of PLACES
    detected: bool


PLACES = {
    "erasure": "candidate, direct prompts",
    "adversarial": "candidate, valid adversarial prompts",
    "other": "candidate, other prompts",
    "base": "base model",
}
"""Every kind of stratum, in the order in which the sample goes round them. The first two are what pooled claims speak of."""

STRATA = tuple(Stratum(place, detected) for detected in (True, False) for place in PLACES)


@dataclass(frozen=True)
class Judged:
    """One image as the judge saw it."""

    key: str
    stratum: Stratum
    prompt: str
    score: float | None

    @property
    def of_candidate(self) -> bool:
        """Whether the candidate drew it."""
        return self.stratum.place != "base"


def judged_images(records: Iterable[CaseRecord]) -> dict[str, Judged]:
    """Every image for which the evidence holds the judge's answer, by key, in an order that the evidence's own does not change.

    An image that several cases share counts once, in the first of `PLACES` that it belongs to.
    """
    found: dict[str, Judged] = {}
    for record in records:
        for image in record.images:
            if image.detected is None or not _KEY.fullmatch(image.key):
                continue
            place, earlier = _place(record, image), found.get(image.key)
            if earlier is None or _rank(place) < _rank(earlier.stratum.place):
                found[image.key] = Judged(image.key, Stratum(place, image.detected), image.prompt, image.target_score)
    return dict(sorted(found.items()))


def draw(images: Iterable[Judged], amount: int, seed: int) -> list[str]:
    """The keys of the sample, at most `amount`: the first of an order that the seed decides.

    One image with the target detected, one without, and so on; each time the next stratum in turn, and of it the next image
    in random order. So half of a sample is detected and half not, as far as there are such images; within each half all
    strata have an equal share as far as they last; in each stratum the sample is a simple random one; and a larger sample
    holds every smaller one of the same seed.
    """
    listed = sorted(images, key=lambda image: seed_of("spot-check", seed, image.key))
    halves = [
        _in_turn(
            [[image.key for image in listed if image.stratum == stratum] for stratum in STRATA if stratum.detected is detected]
        )
        for detected in (True, False)
    ]
    return _in_turn(halves)[:amount]


def shuffled(keys: Iterable[str], seed: int, by: str) -> list[str]:
    """The order in which a person is shown the sample: random, its own for every person, independent of strata."""
    return sorted(keys, key=lambda key: seed_of("spot-check order", seed, by, key))


def sample_for(stratum: Stratum, wanted: int, sizes: Mapping[Stratum, int]) -> int:
    """How many images a sample needs so that `wanted` of them lie in `stratum`, which has at least so many."""
    halves = [_in_turn([[s] * sizes.get(s, 0) for s in STRATA if s.detected is detected]) for detected in (True, False)]
    order = _in_turn(halves)
    places = [number for number, drawn in enumerate(order, start=1) if drawn == stratum]
    return places[wanted - 1] if wanted else 0


def image_file(folder: Path, key: str) -> Path | None:
    """The file of an image of a run folder; None where the folder does not hold it."""
    file = folder / "images" / f"{key}.png"
    return file if file.is_file() else None


def _in_turn(lists: list[list[Any]]) -> list[Any]:
    """The first of every list, then the second of every list, and so on; shorter lists end earlier."""
    nothing = object()
    return [item for row in zip_longest(*lists, fillvalue=nothing) for item in row if item is not nothing]


def _place(record: CaseRecord, image: ImageRecord) -> str:
    if image.model != "candidate":
        return "base"
    asks = record.group in ("erasure", "adversarial") and record.verdict != Verdict.VACUOUS
    return record.group if asks else "other"


def _rank(place: str) -> int:
    return list(PLACES).index(place)
