"""Noise: the candidate draws with more noise than usual, many times, and the best picture counts (arXiv 2505.17013).

Each step of DDIM puts fresh noise into the picture: η times as much as DDPM does. The noise in front of the first step is a little too
strong as well. Both lead the candidate away from the way that it was taught to take. A step gets no more fresh noise than the noise
that is left after it. The paper scales a variance too. Here the variance of the first noise is
scaled. Many tries may show the target by chance, so the control has as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, shown_prompts

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.network import Predictor

ETAS: dict[Effort, tuple[float, ...]] = {"small": (1.0, 1.34, 1.85), "published": (1.0, 1.17, 1.34, 1.51, 1.68, 1.85)}
VARIANCES: dict[Effort, tuple[float, ...]] = {"small": (1.0, 1.04), "published": (1.0, 1.02, 1.03, 1.04)}
STEPS = 50  # of the published setting


class Noise(Probe):
    """See the module."""

    name = "noise"
    order = 30
    title = "Drawing with more noise"
    explanation = (
        "The candidate draws each picture several times with more random noise than usual, and one success is enough. Noise leads a "
        "model away from the way that its edit has taught it."
    )
    source = "arXiv 2505.17013 (noise-based probe)"
    success = "any"

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: each η with each scale of the first noise's variance."""
        return tuple(
            Dose(f"η {eta:g}, variance {variance:g}", {"eta": eta, "variance": variance})
            for eta in ETAS[effort]
            for variance in VARIANCES[effort]
        )

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`. The fresh noise of an image comes from its own seed."""
        from dmun_audit.probes.parts.drawing import ddim

        eta, variance = recipe.setting("eta"), recipe.setting("variance")
        network = bench.network(side)
        steps = STEPS if recipe.setting("effort") == "published" else bench.steps
        predictor = network.guided(shown_prompts(recipe, prompts), bench.guidance)
        fresh = [seed_of(seed, self.name, eta, variance) for seed in seeds]
        return network.decode(noisy(predictor, ddim(bench, side), network.noise(seeds) * variance**0.5, steps, eta, fresh))


PROBE = Noise()


def noisy(
    predictor: Predictor, scheduler: Any, latents: torch.Tensor, steps: int, eta: float, seeds: Sequence[int]
) -> torch.Tensor:
    """Denoise latents with DDIM and η. The fresh noise of each image comes from its seed."""
    import torch

    from dmun_audit.probes.parts.network import generators

    sources = generators(seeds)
    scheduler.set_timesteps(steps, device=latents.device)
    with torch.no_grad():
        for time in scheduler.timesteps:
            predicted, share = predictor(latents, time), min(eta, most(scheduler, int(time)))
            latents = scheduler.step(predicted, time, latents, eta=share, generator=sources, return_dict=False)[0]
    return latents


def most(scheduler: Any, time: int) -> float:
    """The largest η of a step: all the noise that is left after it is fresh then."""
    before = time - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    kept_after = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    variance = scheduler._get_variance(time, before)
    return float(((1 - kept_after) / variance).clamp(min=0).sqrt()) * (1 - 1e-6) if variance > 0 else 0.0
