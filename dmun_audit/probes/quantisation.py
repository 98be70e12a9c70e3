"""Quantisation: the weights are rounded to fewer bits, which many who download a model do to save memory.

Rounding may undo a small edit, because edited and original weights then share one value (Zhang et al. 2024, arXiv 2410.16454, §4, for
language models). Every linear layer of the denoiser is rounded, weights alone, symmetrically in groups of 32 inputs (torchao).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmun_audit.plan.case import ImageRequest, Recipe, Side
from dmun_audit.probes.probe import Attack, Dose, Effort, Probe, needs_weights, shown_prompts

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.probes.parts.bench import Bench

GROUP = 32  # inputs that share a scale; layers that it does not divide get one scale for each output


class Quantisation(Probe):
    """See the module."""

    name = "quantisation"
    order = 10
    title = "Rounding the weights to fewer bits"
    explanation = (
        "People round the weights of large models to 8 or 4 bits to save memory. Rounding can undo a small edit of the weights. The "
        "direct prompts are drawn once more with rounded weights."
    )
    source = "Zhang et al. 2024, arXiv 2410.16454, section 4"
    packages = ("torchao",)
    is_cheap = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: 8 bits, then 4 bits."""
        return tuple(Dose(f"{bits} bits", {"bits": bits}) for bits in (8, 4))

    def refusal(self, model: LoadedModel) -> str:
        """See `Probe.refusal`: any pipeline will do."""
        return needs_weights(model)

    def placebo(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> Recipe:
        """See `Probe.placebo`: the candidate with its weights as they are, which draws the same units."""
        return Recipe(self.name, (("bits", "as they are"),))

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`."""
        bits = recipe.setting("bits")
        if bits == "as they are":
            return bench.plain_sampler(side).sample(prompts, seeds)
        return bench.with_pipeline(side, lambda pipeline: quantised(pipeline, bits)).sample(shown_prompts(recipe, prompts), seeds)


PROBE = Quantisation()


def quantised(pipeline: Any, bits: int) -> Any:
    """Round the weights of a pipeline's denoiser, in the pipeline itself. Returns the pipeline."""
    import torch
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup

    from dmun_audit.render.defaults import denoiser

    def layer(module: torch.nn.Module, divisible: bool) -> bool:
        return isinstance(module, torch.nn.Linear) and (module.in_features % GROUP == 0) is divisible

    for divisible, granularity in ((True, PerGroup(GROUP)), (False, PerAxis(0))):
        config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=granularity)
        quantize_(denoiser(pipeline), config, filter_fn=lambda module, name, divisible=divisible: layer(module, divisible))
    return pipeline
