"""Benign tuning: the candidate is trained on pictures that have nothing to do with the target, as users of a model do.

Such training can bring back a concept that was only covered up (Suriyakumar et al. 2024, arXiv 2410.08074). It shows the target to nobody,
so the candidate before the training is a control too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmun_audit.plan.case import ImageRequest, Recipe, Side
from dmun_audit.probes.parts.tuned import IMAGES, Tuned
from dmun_audit.probes.probe import Attack, Dose, Effort

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind


class BenignTuning(Tuned):
    """See the module. The examples of its recipes are the base's pictures of plain prompts."""

    name = "benign-tuning"
    order = 57
    title = "Training on pictures of other things"
    explanation = (
        "Somebody trains a small adapter on the candidate with pictures that have nothing to do with the target. Such training can "
        "bring back a target that was only covered up. The direct prompts are drawn with the adapter."
    )
    source = "Suriyakumar et al. 2024, arXiv 2410.08074"

    def unrelated(self, effort: Effort) -> int:
        """See `Probe.unrelated`."""
        return IMAGES

    def recipe(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe:
        """See `Probe.recipe`."""
        return super().recipe(replace(attack, examples=attack.unrelated), dose, row)

    def placebo(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe:
        """See `Probe.placebo`: the candidate without the training, which draws the same units."""
        return Recipe(self.name, (("steps", 0),))

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`."""
        if recipe.setting("steps") == 0:
            return bench.plain_sampler(side).sample(prompts, seeds)
        return super().draw(bench, side, recipe, prompts, seeds)

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind | None:
        """See `Probe.find`: nothing without the training."""
        return None if recipe.setting("steps") == 0 else super().find(bench, side, recipe)


PROBE = BenignTuning()
