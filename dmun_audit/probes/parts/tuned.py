"""The base of probes that train an adapter on images and draw with it. It loads no torch before it trains or draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind
    from dmun_audit.probes.parts.low_rank import Tuning

STEPS: dict[Effort, tuple[int, ...]] = {"small": (5, 20, 60), "published": (10, 50, 100, 200, 500)}
IMAGES = 16


def tuning_of(effort: Effort) -> Tuning:
    """How the adapter is trained."""
    from dmun_audit.probes.parts.low_rank import Tuning

    if effort == "small":
        return Tuning(STEPS[effort], rate=3e-3, images=IMAGES, batch=8)
    return Tuning(STEPS[effort], rate=1e-4, images=IMAGES, batch=2, parts=2)


class Tuned(Probe):
    """A probe that trains an adapter on the examples of its recipe, and draws with it."""

    packages = ("peft",)

    def figures(self, effort: Effort) -> Tuning:
        """See `Probe.figures`."""
        return tuning_of(effort)

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: numbers of gradient steps."""
        return tuple(Dose(f"{steps} gradient steps", {"steps": steps}, steps) for steps in STEPS[effort])

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind | None:
        """See `Probe.find`: the adapter after each number of steps."""
        facts = {
            "examples": [bench.engine.key(example) for example in recipe.examples],
            "prompts": [example.prompt for example in recipe.examples],
        }
        return bench.find(bench.find_key(side, recipe, facts), lambda checkpoint: self._train(bench, side, recipe, checkpoint))

    def _train(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        from dmun_audit.probes.parts.low_rank import Lesson, train

        lesson = Lesson(bench.example_images(recipe), [example.prompt for example in recipe.examples])
        found, losses = train(bench, side, lesson, tuning_of(recipe.setting("effort")), self.name, checkpoint)
        return found, {"kind": "adapter", "losses": losses}

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`: the prompts as they are, with the adapter."""
        from dmun_audit.probes.parts.low_rank import sampler_with

        found = self.find(bench, side, recipe)
        assert found is not None
        return sampler_with(bench, side, found.tensors, recipe.setting("steps")).sample(prompts, seeds)
