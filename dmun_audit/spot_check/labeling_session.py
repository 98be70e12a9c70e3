"""One person at one sample: which images, in which order, with which answers so far; blinded pictures."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.spot_check.labels import Label, Labels, append_label
from dmun_audit.spot_check.population import Judged, draw, image_file, shuffled

DEFAULT_IMAGES = 40


@dataclass
class LabelingSession:
    """A person labels a sample. Every answer is on the disk before it counts; a killed labeling_session goes on where it stood."""

    folder: Path
    by: str
    evidence: str
    seed: int
    order: list[str]
    asked: int  # size of the sample as it was asked for
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def first_open(self) -> int:
        """Place of the first image without an answer; the number of images where all have one."""
        return next((place for place, key in enumerate(self.order) if key not in self.answers), len(self.order))

    def answer(self, key: str, answer: str) -> None:
        """Write the answer down. Raises StoreError where that cannot be."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append_label(self.folder, Label(self.by, key, answer, now, self.seed, self.asked, self.evidence))
        self.answers[key] = answer

    def picture(self, key: str) -> bytes:
        """The image as a PNG of pixels alone: whatever else its file may hold, such as its prompt, is left behind."""
        return blinded(image_file(self.folder, key))


def begin_session(
    folder: Path,
    evidence: str,
    images: Iterable[Judged],
    labels: Labels,
    *,
    by: str,
    amount: int | None = None,
    seed: int | None = None,
) -> LabelingSession:
    """Draw the sample of a person, or go on with the one that the person began.

    Left out, the seed is that of the labels that are there, so that several people see the same images, and the amount is
    the largest that the person was asked for. Raises UsageError where images are missing, or for a seed other than that
    which the person's labels were drawn with: of two seeds together no sample would be a simple random one.
    """
    own = labels.by_person.get(by, {})
    seeds = [label.seed for label in own.values()] or [
        label.seed for held in labels.by_person.values() for label in held.values()
    ]
    if own and seed is not None and seed != seeds[-1]:
        raise UsageError(
            f"--seed {seed} is not the seed of the labels that {by} gave",
            f"they were drawn with {seeds[-1]}, and a sample has one seed",
            "leave --seed out to go on with that sample, or give another --by",
        )
    if seed is None:
        seed = seeds[-1] if seeds else secrets.randbits(32)
    if amount is None:
        amount = max([label.images for label in own.values()], default=DEFAULT_IMAGES)
    listed = list(images)
    missing = sum(image_file(folder, image.key) is None for image in listed)
    if missing or not listed:
        raise UsageError(
            f"{folder} lacks {missing} of {len(listed)} images" if listed else f"{folder} holds no image to label",
            "a spot-check draws from all images that the judge answered for",
            "run the audit again: it reuses what it has",
        )
    order = shuffled(draw(listed, amount, seed), seed, by)
    answers = {key: own[key].answer for key in order if key in own}
    return LabelingSession(folder, by, evidence, seed, sorted(order, key=lambda key: key not in answers), amount, answers)


def blinded(file: Path | None) -> bytes:
    """The pixels of an image file, written anew as PNG. Raises StoreError where the file cannot be read."""
    try:
        if file is None:
            raise FileNotFoundError("it is not there any more")
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise StoreError(f"an image of the sample cannot be read: {file}", str(error), "run the audit again") from None
    stream = io.BytesIO()
    Image.frombytes("RGB", picture.size, picture.tobytes()).save(stream, "PNG")
    return stream.getvalue()
