"""Quantisation: the weights are rounded to fewer bits, which many who download a model do to save memory.

Rounding may undo a small edit, because edited and original weights then share one value (Zhang et al. 2024, arXiv 2410.16454, §4, for
language models). The weights of all linear layers of the denoiser are rounded by bitsandbytes and then used in the audit's number format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmun_audit.plan.case import ImageRequest, Recipe, Side
from dmun_audit.probes.probe import Attack, Dose, Effort, Probe, needs_weights

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.probes.parts.bench import Bench

BLOCK = 64  # weights that share a scale at 4 bits


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
    packages = ("bitsandbytes",)
    is_cheap = True

    def doses(self, effort: Effort) -> tuple[Dose, ...]:
        """See `Probe.doses`: 8 bits, then 4 bits."""
        return tuple(Dose(f"{bits} bits", {"bits": bits}) for bits in (8, 4))

    def refusal(self, model: LoadedModel) -> str:
        """See `Probe.refusal`: any pipeline will do."""
        return needs_weights(model)

    def placebo(self, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> None:
        """See `Probe.placebo`: the candidate with its weights as they are."""

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`."""
        bits = recipe.setting("bits")
        return bench.with_pipeline(side, lambda pipeline: quantised(pipeline, bits)).sample(prompts, seeds)


PROBE = Quantisation()


def quantised(pipeline: Any, bits: int) -> Any:
    """Round the weights of the denoiser's linear layers, in the pipeline itself. Returns the pipeline.

    8 bits: whole numbers with one scale for each output, as LLM.int8() keeps weights. 4 bits: normal floats (NF4) in blocks of 64.
    """
    import torch
    from bitsandbytes import functional

    from dmun_audit.render.defaults import denoiser

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        if bits == 8:
            levels, scales, _ = functional.int8_vectorwise_quant(weight.half())
            return functional.int8_vectorwise_dequant(levels, scales)
        return functional.dequantize_4bit(*functional.quantize_4bit(weight.contiguous(), blocksize=BLOCK, quant_type="nf4"))

    with torch.no_grad():
        for module in denoiser(pipeline).modules():
            if isinstance(module, torch.nn.Linear):
                weight = module.weight.detach()
                module.weight = torch.nn.Parameter(rounded(weight).to(weight.dtype), requires_grad=False)
    return pipeline
