"""How much the images of a concept changed: every measure of a retention case, from its pairs of base and candidate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dmun_audit.audit.observations import Observations
from dmun_audit.measures.quality import IQA_PROMPTS, clip_iqa, collapse_share
from dmun_audit.measures.torchmetrics_kid import torchmetrics_kid
from dmun_audit.plan.plan import ImageRequest
from dmun_audit.verdict.distances import cmmd_kernel, kid, paired_sign_flip_test
from dmun_audit.verdict.noise_floor import SMALLEST_SET, compare_other_seeds

if TYPE_CHECKING:
    from dmun_audit.measures.perceptual import PerceptualDistance


class Damage:
    """Measures images of a observations; base and candidate images come in pairs of one prompt and seed."""

    def __init__(self, observations: Observations) -> None:
        self._gallery = observations
        self._seed = observations.plan.audit_seed % 2**32

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """All measures of a concept's pairs, of which the judge got `right` those of base and those of the candidate."""
        measured = {
            "clip_accuracy_base": float(np.mean(right[0])),
            "clip_accuracy_candidate": float(np.mean(right[1])),
            **self._by_side(base, "base"),
            **self._by_side(candidate, "candidate"),
            **self._between_sets(base, candidate),
        }
        if self._perceptual:
            distances = self._perceptual.distances(self._gallery.engine.images(base), self._gallery.engine.images(candidate))
            measured[self._perceptual.name] = float(np.mean(distances))
        return measured

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """Share of images that are nearly of one colour, or static: a model that draws nothing shows no target either."""
        return collapse_share(self._gallery.engine.images(images))

    def _by_side(self, images: Sequence[ImageRequest], side: str) -> dict[str, float]:
        scorer, keys = self._gallery.scorer, self._gallery.keys(images)
        quality = clip_iqa(scorer.embeddings(keys), scorer.judge.embed_texts(IQA_PROMPTS), scorer.judge.scale)
        return {
            f"clip_score_{side}": float(np.mean(scorer.clip_scores(keys, [request.prompt for request in images]))),
            f"clip_iqa_{side}": float(np.mean(quality)),
            f"collapsed_{side}": self.collapsed(images),
        }

    def _between_sets(self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest]) -> dict[str, float]:
        embed = self._gallery.scorer.embeddings
        x, y = embed(self._gallery.keys(base)), embed(self._gallery.keys(candidate))
        if len(x) < 2:
            return {}
        by_kid = paired_sign_flip_test(x, y, seed=self._seed)
        by_cmmd = paired_sign_flip_test(x, y, seed=self._seed, kernel=cmmd_kernel)
        measured = {
            "kid": kid(x, y),
            "kid_torchmetrics": torchmetrics_kid(x, y),
            "kid_paired": by_kid.statistic,
            "kid_p_value": by_kid.p_value,
            "cmmd_paired": by_cmmd.statistic,
            "cmmd_p_value": by_cmmd.p_value,
        }
        if len(x) >= SMALLEST_SET:
            prompts = [request.prompt for request in base]
            kid_apart = compare_other_seeds(x, y, prompts, seed=self._seed)
            cmmd_apart = compare_other_seeds(x, y, prompts, kernel=cmmd_kernel, seed=self._seed)
            measured |= {"kid_unpaired": kid_apart.distance, "kid_noise_floor": kid_apart.floor}
            measured |= {"cmmd_unpaired": cmmd_apart.distance, "cmmd_noise_floor": cmmd_apart.floor}
        return measured

    @cached_property
    def _perceptual(self) -> PerceptualDistance | None:
        name = self._gallery.plan.policy.retention.perceptual
        if name == "none":
            return None
        from dmun_audit.measures.perceptual import open_perceptual
        from dmun_audit.render.devices import choose_device

        return open_perceptual(name, choose_device())
