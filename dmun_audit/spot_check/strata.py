"""The images that a spot-check samples: every image with an answer of the judge, in strata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from dmun_audit._util.hashing import seed_of
from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.verdict.vocabulary import Verdict

Item = TypeVar("Item")

_KEY = re.compile(r"[0-9a-f]{64}")


class Stratum(NamedTuple):
    """Images of one model and one kind of prompt for which the judge gave the same answer."""

    source: str  # a key of SOURCES
    detected: bool


SOURCES = {
    "erasure": "candidate, direct prompts",
    "adversarial": "candidate, valid adversarial prompts",
    "other": "candidate, other prompts",
    "base": "base model",
}
"""Every source of images, in the order in which the sample takes them. The pooled claims are about the first two."""

STRATA = tuple(Stratum(source, detected) for detected in (True, False) for source in SOURCES)


@dataclass(frozen=True)
class JudgedImage:
    """One image with the answer of the judge."""

    key: str
    stratum: Stratum
    prompt: str
    score: float | None

    @property
    def of_candidate(self) -> bool:
        """Whether the candidate rendered it."""
        return self.stratum.source != "base"


def judged_images(records: Iterable[CaseRecord]) -> dict[str, JudgedImage]:
    """Every image with an answer of the judge in the evidence, by key, sorted by key.

    An image that several cases share counts once, under the first of `SOURCES` that applies.
    """
    images: dict[str, JudgedImage] = {}
    for record in records:
        for image in record.images:
            if image.detected is None or not _KEY.fullmatch(image.key):
                continue
            source, known = _source(record, image), images.get(image.key)
            if known is None or _rank(source) < _rank(known.stratum.source):
                stratum = Stratum(source, image.detected)
                images[image.key] = JudgedImage(image.key, stratum, image.prompt, image.target_score)
    return dict(sorted(images.items()))


def draw_sample(images: Iterable[JudgedImage], size: int, seed: int) -> list[str]:
    """The keys of a stratified random sample of at most `size` images.

    The sample takes an image with the target detected, an image without, and so on. On either side it takes the strata
    in turn, and within a stratum the images in random order. So half of the sample is detected, as far as there are such
    images; within each half all strata have equal shares, as far as they last; in every stratum the sample is a simple
    random sample; and a larger sample contains every smaller sample with the same seed.
    """
    in_random_order = sorted(images, key=lambda image: seed_of("spot-check", seed, image.key))
    halves = [
        _round_robin(
            [
                [image.key for image in in_random_order if image.stratum == stratum]
                for stratum in STRATA
                if stratum.detected is detected
            ]
        )
        for detected in (True, False)
    ]
    return _round_robin(halves)[:size]


def presentation_order(keys: Iterable[str], seed: int, person: str) -> list[str]:
    """The order in which a person sees the sample: random, different for every person, independent of the strata."""
    return sorted(keys, key=lambda key: seed_of("spot-check order", seed, person, key))


def sample_size_for(stratum: Stratum, wanted: int, sizes: Mapping[Stratum, int]) -> int:
    """The size of the smallest sample with `wanted` images of `stratum`; `sizes` are the images in each stratum.

    `wanted` must not be larger than the stratum.
    """
    halves = [_round_robin([[s] * sizes.get(s, 0) for s in STRATA if s.detected is detected]) for detected in (True, False)]
    positions = [position for position, drawn in enumerate(_round_robin(halves), start=1) if drawn == stratum]
    return positions[wanted - 1] if wanted else 0


def image_file(folder: Path, key: str) -> Path | None:
    """The file of an image in a run folder; None if the folder does not have it."""
    file = folder / "images" / f"{key}.png"
    return file if file.is_file() else None


def _round_robin(lists: Sequence[Sequence[Item]]) -> list[Item]:
    """The first item of every list, then the second item of every list, and so on; shorter lists end earlier."""
    longest = max(map(len, lists), default=0)
    return [items[position] for position in range(longest) for items in lists if position < len(items)]


def _source(record: CaseRecord, image: ImageRecord) -> str:
    if image.model == "base":
        return "base"
    in_a_claim = record.group in ("erasure", "adversarial") and record.verdict != Verdict.VACUOUS
    return record.group if in_a_claim else "other"


def _rank(source: str) -> int:
    return list(SOURCES).index(source)
