"""A labeling session: the sample of one person, the order of its images, the answers so far, and blinded images."""

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
from dmun_audit.spot_check.strata import JudgedImage, draw_sample, image_file, presentation_order

DEFAULT_SIZE = 40


@dataclass
class LabelingSession:
    """One person labels one sample. An answer counts once it is on the disk, so a killed session can be continued.

    Attributes:
        folder: The run folder.
        person: Name of the person.
        evidence: Digest of the evidence.
        seed: Seed of the sample.
        order: Keys of the images, in the order of presentation.
        size: Requested size of the sample.
        answers: Answers so far, by key.
    """

    folder: Path
    person: str
    evidence: str
    seed: int
    order: list[str]
    size: int
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def first_open(self) -> int:
        """Position of the first image without an answer; the number of images if there is none."""
        return next((position for position, key in enumerate(self.order) if key not in self.answers), len(self.order))

    def answer(self, key: str, answer: str) -> None:
        """Save the answer. Raises StoreError if it cannot be written."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append_label(self.folder, Label(self.person, key, answer, now, self.seed, self.size, self.evidence))
        self.answers[key] = answer

    def png(self, key: str) -> bytes:
        """The image as a PNG of its pixels alone, without metadata such as the prompt."""
        return blinded_png(image_file(self.folder, key))


def begin_session(
    folder: Path,
    evidence: str,
    images: Iterable[JudgedImage],
    labels: Labels,
    *,
    person: str,
    size: int | None = None,
    seed: int | None = None,
) -> LabelingSession:
    """Draw the sample of a person, or continue the session that the person began.

    Without `seed`, the seed of the existing labels is used, so that several persons see the same images. Without `size`,
    the largest size that the person has requested is used. Raises UsageError for missing images, and for a seed that
    differs from the seed of the person's labels: labels with two seeds are no simple random sample.
    """
    own = labels.by_person.get(person, {})
    seeds = [label.seed for label in own.values()] or [
        label.seed for of_person in labels.by_person.values() for label in of_person.values()
    ]
    if own and seed is not None and seed != seeds[-1]:
        raise UsageError(
            f"--seed {seed} is not the seed of the labels of {person}",
            f"their sample was drawn with {seeds[-1]}, and a sample has one seed",
            "leave --seed out to continue that sample, or give another --by",
        )
    if seed is None:
        seed = seeds[-1] if seeds else secrets.randbits(32)
    if size is None:
        size = max([label.images for label in own.values()], default=DEFAULT_SIZE)
    population = list(images)
    missing = sum(image_file(folder, image.key) is None for image in population)
    if missing or not population:
        raise UsageError(
            f"{folder} lacks {missing} of {len(population)} images" if population else f"{folder} has no image to label",
            "a spot-check draws from all images with an answer of the judge",
            "run the audit again: it reuses the images that exist",
        )
    order = presentation_order(draw_sample(population, size, seed), seed, person)
    answers = {key: own[key].answer for key in order if key in own}
    return LabelingSession(folder, person, evidence, seed, sorted(order, key=lambda key: key not in answers), size, answers)


def blinded_png(file: Path | None) -> bytes:
    """The pixels of an image file as a new PNG without metadata. Raises StoreError for a file that cannot be read."""
    try:
        if file is None:
            raise FileNotFoundError("the file is missing")
        with Image.open(file) as opened:
            pixels = opened.convert("RGB")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise StoreError(f"an image of the sample cannot be read: {file}", str(error), "run the audit again") from None
    stream = io.BytesIO()
    Image.frombytes("RGB", pixels.size, pixels.tobytes()).save(stream, "PNG")
    return stream.getvalue()
