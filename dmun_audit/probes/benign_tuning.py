"""Benign tuning: the candidate is trained on pictures that have nothing to do with the target, as users of a model do.

Such training can bring back a concept that was only covered up (Suriyakumar et al. 2024, arXiv 2410.08074). It shows the target to nobody,
so the candidate before the training is a control too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.plan.case import ImageRequest, Recipe
from dmun_audit.probes.parts.tuned import IMAGES, Tuned
from dmun_audit.probes.probe import Attack, Dose, Effort


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

    def placebo(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> None:
        """See `Probe.placebo`: the candidate without the training."""


PROBE = BenignTuning()
