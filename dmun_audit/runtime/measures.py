"""Measures of images beside the claims: the change of a concept's images, and the concept's similarity to the target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dmun_audit.judge.detection import cosine
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.measures.quality import IQA_PROMPTS, clip_iqa, collapsed
from dmun_audit.measures.registry import measured
from dmun_audit.plan.case import ImageRequest
from dmun_audit.runtime.observations import AuditObservations
from dmun_audit.verdict.distances import cmmd_kernel, kid, paired_sign_flip_test
from dmun_audit.verdict.noise_floor import SMALLEST_SET, compare_other_seeds

if TYPE_CHECKING:
    from dmun_audit.measures.perceptual import PerceptualDistance
    from dmun_audit.measures.protocol import Metric


class AuditMeasures:
    """Measures drawn images; implements `claim_groups.context.Measures`. Base and candidate images share prompt and seed.

    `metrics` are those that the user named and those of other packages.
    """

    def __init__(self, observations: AuditObservations, metrics: Sequence[Metric] = ()) -> None:
        self._observations = observations
        self._metrics = metrics
        self._collapsed: dict[str, bool] = {}  # by image key
        self._seed = observations.plan.audit_seed % 2**32

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """See `Measures.of_pairs`."""
        measures = {
            "clip_accuracy_base": float(np.mean(right[0])),
            "clip_accuracy_candidate": float(np.mean(right[1])),
            **self._by_side(base, "base"),
            **self._by_side(candidate, "candidate"),
            **self._between_sets(base, candidate),
        }
        images = self._observations.engine.images
        if self._perceptual:
            distances = self._perceptual.distances(images(base), images(candidate))
            measures[self._perceptual.name] = float(np.mean(distances))
        return measures | self.by_metrics(base, candidate)

    def by_metrics(self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest]) -> dict[str, float]:
        """See `Measures.by_metrics`."""
        if not self._metrics:
            return {}
        images = self._observations.engine.images
        return measured(self._metrics, images(base), images(candidate), [request.prompt for request in base])

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """See `Measures.collapsed`. A model that draws empty images shows no target either."""
        keys = self._observations.keys(images)
        new = {key: request for key, request in zip(keys, images, strict=True) if key not in self._collapsed}
        self._collapsed |= dict(zip(new, map(bool, collapsed(self._observations.images(list(new.values())))), strict=True))
        return float(np.mean([self._collapsed[key] for key in keys]))

    def detection(self) -> dict[str, float]:
        """See `Measures.detection`."""
        first, *others = self._observations.first_judge.thresholds
        measures = {"threshold": first.value, "calibration_images": first.images}
        if first.lowest is not None and first.value > first.lowest:
            measures["threshold_lowest"] = first.lowest
        if others:
            measures["threshold_view"] = others[0].value
        return measures

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """See `Measures.similarity`: cosines of labels, and of mean embeddings of base images, in [-1, 1]."""
        scorer, keys = self._observations.scorer, self._observations.keys(base)
        labels = scorer.judge.embed_texts([concept.label, self._observations.plan.dossier.target.label])
        return {
            "similarity_clip_text": cosine(labels[0], labels[1]),
            "similarity_clip_image": cosine(scorer.embeddings(keys).mean(axis=0), self._target_centre),
        }

    @cached_property
    def _target_centre(self) -> np.ndarray:
        """The mean embedding (d,) of the base images whose prompt names the target."""
        images = self._observations.plan.of_kind("sensitivity").images
        self._observations.draw(images)
        centre: np.ndarray = self._observations.scorer.embeddings(self._observations.keys(images)).mean(axis=0)
        return centre

    def _by_side(self, images: Sequence[ImageRequest], side: str) -> dict[str, float]:
        scorer, keys = self._observations.scorer, self._observations.keys(images)
        quality = clip_iqa(scorer.embeddings(keys), scorer.judge.embed_texts(IQA_PROMPTS), scorer.judge.scale)
        return {
            f"clip_score_{side}": float(np.mean(scorer.clip_scores(keys, [request.prompt for request in images]))),
            f"clip_iqa_{side}": float(np.mean(quality)),
            f"collapsed_{side}": self.collapsed(images),
        }

    def _between_sets(self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest]) -> dict[str, float]:
        """Distances between the images of base and candidate. Distances over other seeds need `SMALLEST_SET` pairs."""
        embeddings = self._observations.scorer.embeddings
        x, y = embeddings(self._observations.keys(base)), embeddings(self._observations.keys(candidate))
        if len(x) < 2:
            return {}
        by_kid = paired_sign_flip_test(x, y, seed=self._seed)
        by_cmmd = paired_sign_flip_test(x, y, seed=self._seed, kernel=cmmd_kernel)
        distances = {
            "kid": kid(x, y),
            "kid_paired": by_kid.statistic,
            "kid_p_value": by_kid.p_value,
            "cmmd_paired": by_cmmd.statistic,
            "cmmd_p_value": by_cmmd.p_value,
        }
        if self._observations.plan.policy.retention.cross_check == "torchmetrics":
            from dmun_audit.measures.torchmetrics_kid import torchmetrics_kid

            distances["kid_torchmetrics"] = torchmetrics_kid(x, y)
        if len(x) >= SMALLEST_SET:
            prompts = [request.prompt for request in base]
            kid_apart = compare_other_seeds(x, y, prompts, seed=self._seed)
            cmmd_apart = compare_other_seeds(x, y, prompts, kernel=cmmd_kernel, seed=self._seed)
            distances |= {"kid_unpaired": kid_apart.distance, "kid_noise_floor": kid_apart.floor}
            distances |= {"cmmd_unpaired": cmmd_apart.distance, "cmmd_noise_floor": cmmd_apart.floor}
        return distances

    @cached_property
    def _perceptual(self) -> PerceptualDistance | None:
        name = self._observations.plan.policy.retention.perceptual
        if name == "none":
            return None
        from dmun_audit.measures.perceptual import open_perceptual
        from dmun_audit.render.devices import choose_device

        return open_perceptual(name, choose_device())
