"""Inverted latents: DDIM is run backwards on a picture of the target, and the candidate draws from the noise that comes out.

The candidate itself takes the picture apart, without a prompt. Then it draws from this noise: with the prompt, under the audit's
guidance, or without a prompt (M-ErasureBench, arXiv 2512.22877). The noise still holds the picture, so without a prompt any model draws
the picture again. That dose says nothing where the control is no other model, and the small setting leaves it out. With the prompt the
guidance leads away from the picture, and what the candidate knows decides where to.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmun_audit.plan.case import Recipe, Side
from dmun_audit.probes.probe import Dose, Effort, Probe, shown_prompts

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind
    from dmun_audit.probes.parts.network import Predictor

STEPS = 50  # of the published setting, there and back
ENDS = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
"""Settings with which DDIM ends at the picture itself, and with which its inverse begins there."""


class InvertedLatents(Probe):
    """See the module."""

    name = "inverted-latents"
    order = 36
    title = "Drawing from the noise behind a picture of the target"
    explanation = (
        "A picture of the target by the original model is taken apart step by step, by the candidate itself, until only noise seems to "
        "be left. The candidate draws from this noise."
    )
    source = "M-ErasureBench, arXiv 2512.22877 (inverted latents)"
    attacks_together = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: what the candidate is given besides the latents."""
        with_prompt, without = Dose("the prompt", {"prompt": True}), Dose("no prompt", {"prompt": False})
        return (with_prompt,) if effort == "small" else (with_prompt, without)

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind:
        """See `Probe.find`: the latents of the row's units. Both doses draw from them."""
        facts = {
            "steps": _steps(bench, recipe),
            "units": [bench.engine.key(unit) for unit in recipe.units],
            "batch": bench.engine.sampling.batch_size,
        }
        return bench.find(bench.find_key(side, recipe, facts), lambda checkpoint: self._invert(bench, side, recipe))

    def _invert(self, bench: Bench, side: Side, recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch

        from dmun_audit.probes.parts.drawing import ddim

        network, batch, found = bench.network(side), bench.engine.sampling.batch_size, []
        for start in range(0, len(recipe.units), batch):
            pictures = network.encode(bench.base_images(recipe.units[start : start + batch]))
            without_prompt = network.guided([""] * len(pictures), 1.0)
            found.append(inverted(without_prompt, ddim(bench, side), pictures, _steps(bench, recipe)))
        return {"latents": torch.cat(found)}, {"kind": "latents"}

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`. Each image has the latents of its own unit."""
        from dmun_audit.probes.parts.drawing import ddim
        from dmun_audit.probes.parts.network import denoise

        network = bench.network(side)
        places = {(unit.prompt, unit.seed): place for place, unit in enumerate(recipe.units)}
        found = self.find(bench, side, recipe).tensors["latents"]
        latents = found[[places[pair] for pair in zip(prompts, seeds, strict=True)]].to(network.device, network.dtype)
        texts = shown_prompts(recipe, prompts) if recipe.setting("prompt") else [""] * len(prompts)
        guided = network.guided(texts, bench.guidance if recipe.setting("prompt") else 1.0)
        return network.decode(denoise(lambda place: guided, ddim(bench, side, **ENDS), latents, _steps(bench, recipe)))


PROBE = InvertedLatents()


def _steps(bench: Bench, recipe: Recipe) -> int:
    return STEPS if recipe.setting("effort") == "published" else bench.steps


def inverted(predictor: Predictor, scheduler: Any, pictures: torch.Tensor, steps: int) -> torch.Tensor:
    """The latents from which DDIM draws these pictures again, approximately. `scheduler` is a DDIM scheduler."""
    import torch
    from diffusers import DDIMInverseScheduler

    takes = inspect.signature(DDIMInverseScheduler).parameters
    settings = {name: value for name, value in scheduler.config.items() if name in takes} | ENDS
    backwards, latents = DDIMInverseScheduler(**settings), pictures
    backwards.set_timesteps(steps, device=latents.device)
    with torch.no_grad():
        for time in backwards.timesteps:
            latents = backwards.step(predictor(latents, time), time, latents, return_dict=False)[0]
    return latents
