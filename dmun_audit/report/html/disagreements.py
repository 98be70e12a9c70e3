"""What the page says of two judges: on which images they differ."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import ImageRecord
from dmun_audit.report.formatting import hundredths, one_line
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail

IMAGES_SHOWN = 48
_WEIGHT = {
    "must agree": "Under this policy a claim counts as decided only where both say the same.",
    "reported": "Under this policy the second judge is reported and decides nothing.",
}


@dataclass(frozen=True)
class Disagreement:
    """One image on which the judges differ, with what each saw."""

    thumbnail: Thumbnail | None
    model: str
    prompt: str
    judge: str
    second: str


@dataclass(frozen=True)
class DisagreementsView:
    """The section: how many images both looked at, on how many they differ, and the first of those, the candidate's before base's."""

    images: int
    judge_alone: int
    second_alone: int
    weight: str
    shown: tuple[Disagreement, ...]

    @property
    def differing(self) -> int:
        """On how many images they differ."""
        return self.judge_alone + self.second_alone


def view_disagreements(run: Run) -> DisagreementsView | None:
    """The view; None where one judge alone looked. Every image counts once, whichever cases show it."""
    images = {image.key: image for case in run.cases for image in case.images}
    seen = [image for image in images.values() if image.second_detected is not None]
    if not seen:
        return None
    differing = [image for image in seen if bool(image.detected) != image.second_detected]
    differing.sort(key=lambda image: image.model != "candidate")
    alone = sum(bool(image.detected) for image in differing)
    controls = (run.manifest.policy.get("text") or {}).get("controls") or {}
    weight = _WEIGHT["must agree" if controls.get("second_judge") == "must agree" else "reported"]
    shown = tuple(_disagreement(run, image) for image in differing[:IMAGES_SHOWN])
    return DisagreementsView(len(seen), alone, len(differing) - alone, weight, shown)


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
