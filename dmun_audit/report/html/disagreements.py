"""The section on two judges: the images on which they differ."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import ImageRecord
from dmun_audit.report.formatting import hundredths, one_line
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail

IMAGES_SHOWN = 48
_WEIGHT = {
    "must agree": "Under this policy a claim is decided only if both judges agree.",
    "reported": "Under this policy the second judge is reported only and decides nothing.",
}


@dataclass(frozen=True)
class Disagreement:
    """One image on which the judges differ, with both answers."""

    thumbnail: Thumbnail | None
    model: str
    prompt: str
    judge: str
    second: str


@dataclass(frozen=True)
class DisagreementsView:
    """The section.

    Attributes:
        images: Number of images with answers of both judges.
        judge_alone: Number of images in which only the judge detects the target.
        second_alone: Number of images in which only the second judge detects the target.
        weight: Sentence on the weight of the second judge under the policy.
        shown: The first images on which they differ, images of the candidate first.
    """

    images: int
    judge_alone: int
    second_alone: int
    weight: str
    shown: tuple[Disagreement, ...]

    @property
    def differing(self) -> int:
        """The number of images on which they differ."""
        return self.judge_alone + self.second_alone


def view_disagreements(run: Run) -> DisagreementsView | None:
    """The view; None without a second judge. Every image counts once, even if several cases show it."""
    images = {image.key: image for case in run.cases for image in case.images}
    judged_twice = [image for image in images.values() if image.second_detected is not None]
    if not judged_twice:
        return None
    differing = [image for image in judged_twice if bool(image.detected) != image.second_detected]
    differing.sort(key=lambda image: image.model == "base")
    judge_alone = sum(bool(image.detected) for image in differing)
    controls = (run.manifest.policy.get("text") or {}).get("controls") or {}
    weight = _WEIGHT["must agree" if controls.get("second_judge") == "must agree" else "reported"]
    shown = tuple(_disagreement(run, image) for image in differing[:IMAGES_SHOWN])
    return DisagreementsView(len(judged_twice), judge_alone, len(differing) - judge_alone, weight, shown)


def _disagreement(run: Run, image: ImageRecord) -> Disagreement:
    return Disagreement(
        thumbnail=thumbnail(run.image(image.key)),
        model=image.model,
        prompt=one_line(image.prompt),
        judge=_answer(bool(image.detected), image.target_score),
        second=_answer(bool(image.second_detected), image.second_score),
    )


def _answer(detected: bool, score: float | None) -> str:
    answer = "detected" if detected else "not detected"
    return answer if score is None else f"{answer} ({hundredths(score)})"
