"""Stand-ins for the observations and measures of an audit: they answer from judged images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from benchmarks.calibration.audit_images import AuditImages, PlannedImages
from dmun_audit.claim_groups.context import Judge
from dmun_audit.evidence.schema import CalibrationImage, ImageRecord
from dmun_audit.judge.detection import Threshold, calibrate
from dmun_audit.judge.views import View
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.case import ImageRequest, Row, Side
from dmun_audit.render.engine import covering

OTHER_LABEL = ""
"""The label of an image in which the judge does not recognise the concept."""


class ResampledObservations:
    """The observations of a resampled audit; implements `claim_groups.context.Observations`.

    `drawn` are the images that a real audit would have rendered: whole batches. Records describe images only where a claim
    on CLIP scores reads them.
    """

    has_second_judge = False

    def __init__(self, planned: PlannedImages, images: AuditImages) -> None:
        self.plan = planned.plan
        self.drawn: set[ImageRequest] = set()
        self._planned = planned
        self._images = images
        self._describes_images = planned.plan.policy.retention.score_margin is not None

    def draw(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """See `Observations.draw`."""
        requests = row if wanted is None else wanted
        if not self.drawn.issuperset(requests):
            for batch in covering(row, requests, self.plan.policy.sampling.batch_size):
                self.drawn.update(batch)

    def draw_rows(self, rows: Sequence[Row], spare: Sequence[Row] = ()) -> None:
        """See `Observations.draw_rows`."""
        for row, wanted in rows:
            self.draw(row, wanted)

    def draw_base_of_neighbours(self, wanted: Sequence[ImageRequest]) -> None:
        """See `Observations.draw_base_of_neighbours`."""
        if not self.drawn.issuperset(wanted):
            requests = set(wanted)
            for row in self._planned.base_rows:
                self.draw(row, [request for request in row if request in requests])

    def count(self, side: Side) -> int:
        """How many images of one side were drawn."""
        return sum(request.side == side for request in self.drawn)

    @cached_property
    def threshold(self) -> Threshold:
        """The detection threshold, calibrated on the audit's own base images."""
        self.draw_base_of_neighbours(self._planned.calibration)
        return calibrate(self._images.target[self._planned.positions(self._planned.calibration)])

    @cached_property
    def _detected(self) -> list[bool]:
        """By position: whether the target is detected."""
        return self.threshold.detects(self._images.target)

    @cached_property
    def _recognised(self) -> list[int]:
        """By position: 1 where the judge recognises the concept."""
        return list(self._images.recognised.tolist())

    def detected(self, requests: Sequence[ImageRequest], judge: Judge = "first") -> list[int]:
        """See `Observations.detected`."""
        return [int(self._detected[position]) for position in self._planned.positions(requests)] if judge == "first" else []

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """See `Observations.labels`; `OTHER_LABEL` stands for every label but the concept's own."""
        labels = (OTHER_LABEL, concept.label)
        return [labels[self._recognised[position]] for position in self._planned.positions(requests)]

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """See `Observations.clip_scores`."""
        return [round(float(score), 6) for score in self._images.clip[self._planned.positions(requests)]]

    @property
    def bench(self) -> None:
        """See `Observations.bench`: images alone are at hand."""
        return None

    def own_settings(self) -> tuple[str, ...] | None:
        """See `Observations.own_settings`: a resampled candidate has none."""
        return None

    @property
    def composition_judge(self) -> None:
        """See `Observations.composition_judge`: there is none."""
        return None

    def show_their_prompts(self, requests: Sequence[ImageRequest]) -> None:
        """See `Observations.show_their_prompts`: without a judge of compositions, there is no answer."""
        return None

    def detected_after(self, change: View, requests: Sequence[ImageRequest]) -> list[int]:
        """See `images`: a resampled audit has no pixels to change."""
        self.images(requests)
        return []

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """Raises LookupError: a resampled audit has scores, and no pixels."""
        raise LookupError("A resampled audit has no images: leave claims on pixels out of its policy.")

    def embeddings(self, requests: Sequence[ImageRequest]) -> np.ndarray:
        """Raises LookupError: a resampled audit has scores, and no embeddings."""
        raise LookupError("A resampled audit has no embeddings: leave claims on them out of its policy.")

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """See `embeddings`."""
        return self.embeddings(())

    def records(self, requests: Sequence[ImageRequest]) -> tuple[ImageRecord, ...]:
        """See `Observations.records`."""
        if not self._describes_images:
            return (_BLANK,) * len(requests)
        return tuple(
            ImageRecord(model=request.side, prompt=request.prompt, index=request.index, clip_score=score)
            for request, score in zip(requests, self.clip_scores(requests), strict=True)
        )

    def calibration_records(self) -> tuple[CalibrationImage, ...]:
        """See `Observations.calibration_records`; no record holds the calibration of a resampled audit."""
        return ()


class _BlankRecord(ImageRecord):
    """Stands for the record of any image: it describes none, and its copies are itself."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """This record."""
        return self


_BLANK = _BlankRecord(model="base", prompt="")


class Calibrated(Protocol):
    """Observations with a detection threshold."""

    @property
    def threshold(self) -> Threshold:
        """The detection threshold."""
        ...


class NoMeasures:
    """Measures no damage; implements `claim_groups.context.Measures`. All measures are 0, so no ordering is tested."""

    def __init__(self, observations: Calibrated) -> None:
        self._observations = observations

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """See `Measures.of_pairs`."""
        return {f"{name}_{side}": 0.0 for name in ("clip_accuracy", "clip_score") for side in ("base", "candidate")}

    def by_metrics(self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest]) -> dict[str, float]:
        """No values."""
        return {}

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """See `Measures.similarity`."""
        return {}

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """See `Measures.collapsed`."""
        return 0.0

    def detection(self) -> dict[str, float]:
        """See `Measures.detection`."""
        threshold = self._observations.threshold
        return {"threshold": threshold.value, "calibration_images": threshold.images}
