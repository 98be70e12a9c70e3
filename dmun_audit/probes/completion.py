"""Completion: the base draws the first steps, and the candidate finishes the picture (partial denoising).

A candidate that only lost the way from the prompt to the target can still finish a picture that somebody else began (arXiv
2505.17013, the attack by partially denoised latents). After many steps of the base, any model shows what the base began: so the control
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, shown_prompts

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.network import Predictor


class Completion(Probe):
    """See the module."""

    name = "completion"
    order = 20
    title = "Finishing a picture that the original model began"
    explanation = (
        "The original model draws the first steps of a picture of the target, and the candidate finishes it. A model that has lost "
        "only the way from the words to the target can still finish such a picture."
    )
    source = "arXiv 2505.17013 (partially denoised latents)"
    is_cheap = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: the base draws so many hundredths of the steps, at least one step."""
        shares = (10, 20, 30, 50) if effort == "small" else (2, 4, 6, 10, 20)
        return tuple(Dose(f"the first {share}% of the steps", {"share": share}) for share in shares)

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`. The base gets the prompt of the target also where the candidate gets a made-up name."""
        from dmun_audit.probes.parts.drawing import fresh
        from dmun_audit.probes.parts.network import denoise, generators

        network, scheduler, sources = bench.network(side), bench.scheduler(side), generators(seeds)
        first = max(1, round(bench.steps * recipe.setting("share") / 100))
        begins = bench.network("base").guided(prompts, bench.guidance)
        finishes = network.guided(shown_prompts(recipe, prompts), bench.guidance)
        latents = network.noise_from(sources) * scheduler.init_noise_sigma
        by_step = partial(_network_at, begins, finishes, first)
        return network.decode(denoise(by_step, scheduler, latents, bench.steps, **fresh(scheduler, sources)))


PROBE = Completion()


def _network_at(begins: Predictor, finishes: Predictor, first: int, place: int) -> Predictor:
    return begins if place < first else finishes
