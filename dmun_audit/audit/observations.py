"""The images of one audit and what is seen in them: drawn where they are missing, judged, described for the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dmun_audit.decisions.group_claims import Rules
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.detection import Threshold, cosine
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.plan import ImageRequest, Plan, Side, calibration_images
from dmun_audit.render.engine import Engine, covering

if TYPE_CHECKING:
    from dmun_audit.judge.protocol import StoredImageDetector

Record = dict[str, Any]


class Observations:
    """Images by request. `second` is a second, independent judge of whether the target is there, where there is one."""

    def __init__(self, plan: Plan, engine: Engine, scorer: ClipScorer, second: StoredImageDetector | None = None) -> None:
        self.plan = plan
        self.engine = engine
        self.scorer = scorer
        self.second = second
        self.rules = Rules(plan)

    # Drawing.

    def ensure_base_of_retention(self, wanted: Sequence[ImageRequest]) -> None:
        """Draw base images of neighbours in the same batches in which their own cases ask for them."""
        for row, here in self._rows_of_retention(wanted):
            self.engine.ensure(row, here)

    def calibration_cost(self) -> int:
        """How many images must be drawn for the detection threshold: whole batches of the neighbours' base images."""
        size = self.plan.policy.sampling.batch
        return sum(len(batch) for row, here in self._rows_of_retention(self._calibration) for batch in covering(row, here, size))

    def _rows_of_retention(self, wanted: Sequence[ImageRequest]) -> Iterator[tuple[list[ImageRequest], list[ImageRequest]]]:
        """The rows of the neighbours' base images, each with those of the `wanted` ones that are in it."""
        asked = set(wanted)
        for row in rows_of_retention(self.plan, "base", together=self.rules.early("retention")):
            here = [request for request in row if request in asked]
            if here:
                yield row, here

    # Judging.

    def keys(self, requests: Sequence[ImageRequest]) -> list[str]:
        """The store's keys of images."""
        return [self.engine.key(request) for request in requests]

    @cached_property
    def threshold(self) -> Threshold:
        """The calibrated detection threshold of this audit."""
        self.ensure_base_of_retention(self._calibration)
        return self.scorer.threshold(self.keys(self._calibration))

    @cached_property
    def second_threshold(self) -> Threshold:
        """That of the second judge, calibrated on the same images."""
        assert self.second is not None
        self.ensure_base_of_retention(self._calibration)
        return self.second.threshold(self.keys(self._calibration))

    def calibrated_on(self) -> list[Record]:
        """The images that the threshold was calibrated on, with the judge's score of each."""
        keys = self.keys(self._calibration)
        scores = self.scorer.target_scores(keys)
        return [{"key": key, "target_score": round(float(score), 6)} for key, score in zip(keys, scores, strict=True)]

    @cached_property
    def _calibration(self) -> tuple[ImageRequest, ...]:
        return calibration_images(self.plan.policy, self.plan.nearby, self.plan.audit_seed)

    def detected(self, requests: Sequence[ImageRequest]) -> list[int]:
        """1 for every drawn image in which the judge sees the target, 0 for the others."""
        if not requests:
            return []
        return [int(score > self.threshold.value) for score in self.scorer.target_scores(self.keys(requests))]

    def detected_by_second(self, requests: Sequence[ImageRequest]) -> list[int]:
        """The same as the second judge sees it; empty where there is none."""
        if not requests or self.second is None:
            return []
        return [int(score > self.second_threshold.value) for score in self.second.target_scores(self.keys(requests))]

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """The CLIP score of each drawn image with its own prompt, as the evidence holds it: rounded to six places."""
        if not requests:
            return []
        scores = self.scorer.clip_scores(self.keys(requests), [request.prompt for request in requests])
        return [round(float(score), 6) for score in scores]

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """The best label of each drawn image, among the concept's own and those that it is weighed against."""
        return self.scorer.classify(self.keys(requests), concept)

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """How similar CLIP finds a concept to the target: cosine of their labels, and of their mean base images, in [-1, 1]."""
        labels = self.scorer.judge.embed_texts([concept.label, self.plan.dossier.target.label])
        return {
            "similarity_clip_text": cosine(labels[0], labels[1]),
            "similarity_clip_image": cosine(self.scorer.embeddings(self.keys(base)).mean(axis=0), self._target_centre),
        }

    @cached_property
    def _target_centre(self) -> np.ndarray:
        """The mean embedding (d,) of the base images whose prompt names the target."""
        control = next(case for case in self.plan.cases if case.kind == "sensitivity")
        self.engine.ensure(control.images)
        return self.scorer.embeddings(self.keys(control.images)).mean(axis=0)

    # Describing.

    def twins(self, images: Sequence[ImageRequest]) -> list[ImageRequest]:
        """The sensitivity control's base images that share prompt and seed with `images`: what to show beside them."""
        seeds = {request.seed for request in images}
        control = next(case for case in self.plan.cases if case.kind == "sensitivity")
        found = [request for request in control.images if request.seed in seeds]
        self.engine.ensure(control.images, found)
        return found

    def described(self, requests: Sequence[ImageRequest]) -> list[Record]:
        """What the evidence says of drawn images."""
        if not requests:
            return []
        keys = self.keys(requests)
        targets, scores = self.scorer.target_scores(keys), self.clip_scores(requests)
        told = [
            {
                "model": request.side,
                "prompt": request.prompt,
                "index": request.index,
                "seed": request.seed,
                "key": key,
                "target_score": round(float(target), 6),
                "detected": bool(target > self.threshold.value),
                "clip_score": score,
                "label": None,
            }
            for request, key, target, score in zip(requests, keys, targets, scores, strict=True)
        ]
        if self.second is not None:
            for image, score in zip(told, self.second.target_scores(keys), strict=True):
                image |= {
                    "second_score": round(float(score), 6),
                    "second_detected": bool(score > self.second_threshold.value),
                }
        return told


def rows_of_retention(plan: Plan, side: Side, *, together: bool) -> list[list[ImageRequest]]:
    """Which of one side's neighbour images share batches: each concept has a row, or all have one, round by round."""
    each = [[request for request in case.images if request.side == side] for case in plan.of_group("retention")]
    return [by_rounds(each)] if together else each


def by_rounds(members: Sequence[Sequence[ImageRequest]], end: int | None = None) -> list[ImageRequest]:
    """The images of several members round by round: the first of each, the second of each, … up to `end` of each."""
    rounds = max(map(len, members), default=0) if end is None else end
    return [member[place] for place in range(rounds) for member in members if place < len(member)]
