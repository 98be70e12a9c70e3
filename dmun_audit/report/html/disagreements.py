"""What the page says of two judges: on which images they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmun_audit.report.formatting import hundredths, is_number, one_line
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail
from dmun_audit.report.run import Run

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
    images = {str(image.get("key")): image for case in run.cases for image in case.get("images") or ()}
    seen = [image for image in images.values() if image.get("second_detected") is not None]
    if not seen:
        return None
    differing = [image for image in seen if bool(image.get("detected")) != bool(image["second_detected"])]
    differing.sort(key=lambda image: image.get("model") != "candidate")
    alone = sum(bool(image.get("detected")) for image in differing)
    controls = ((run.manifest.get("policy") or {}).get("text") or {}).get("controls") or {}
    weight = _WEIGHT["must agree" if controls.get("second_judge") == "must agree" else "reported"]
    shown = tuple(_disagreement(run, image) for image in differing[:IMAGES_SHOWN])
    return DisagreementsView(len(seen), alone, len(differing) - alone, weight, shown)


def _disagreement(run: Run, image: Mapping[str, Any]) -> Disagreement:
    return Disagreement(
        thumbnail=thumbnail(run.image(image.get("key"))),
        model=one_line(image.get("model", "")),
        prompt=one_line(image.get("prompt", "")),
        judge=_answer(image, "detected", "target_score"),
        second=_answer(image, "second_detected", "second_score"),
    )


def _answer(image: Mapping[str, Any], detected: str, score: str) -> str:
    said = "detected" if image.get(detected) else "not detected"
    return f"{said} ({hundredths(image[score])})" if is_number(image.get(score)) else said
