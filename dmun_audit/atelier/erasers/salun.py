"""SalUn: Fan et al. 2024, "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency" (arXiv 2310.12508), §4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.states import Progress, Weights, all_states, only
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator

BATCH = 8
MASK_BATCHES = 32  # of pictures, whose gradients make the mask


def saliency_mask(
    pipeline: Any, forgotten: Pictures, names: Sequence[str], *, share: float, seed: int, batches: int = MASK_BATCHES
) -> dict[str, torch.Tensor]:
    """Masks over the parameters `names` of the UNet: 1 for the `share` with the largest gradients, 0 for the others.

    The loss is the error of noise prediction on the `forgotten` pictures. Its gradients are summed over `batches` batches. One
    threshold holds for all parameters together. Returns float32 tensors by name.
    """
    chosen = only(pipeline.unet, set(names).__contains__)
    gradients = {name: torch.zeros_like(value) for name, value in chosen.items()}
    for index in range(batches):
        generator = step_generator(seed, index)
        rows = forgotten.any(BATCH, generator)
        noisy, time, noise = forgotten.noised(rows, generator)
        loss = (pipeline.unet(noisy, time, forgotten.states[rows]).sample - noise).square().mean()
        for name, part in zip(chosen, torch.autograd.grad(loss, list(chosen.values())), strict=True):
            gradients[name] += part
    only(pipeline.unet, lambda name: False)
    sizes = torch.cat([value.abs().flatten() for value in gradients.values()])
    threshold = sizes.kthvalue(max(1, round((1 - share) * sizes.numel()))).values
    return {name: (value.abs() > threshold).float() for name, value in gradients.items()}


def saliency_unlearning(
    pipeline: Any,
    forgotten: Pictures,
    labels: Sequence[str],
    kept: Pictures,
    mask: dict[str, torch.Tensor],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    remain: float = 0.5,
) -> Weights:
    """SalUn: give the `forgotten` pictures other `labels`, and let only the weights under `mask` learn that.

    Minimises |e(x_t, c) - sg e(x_t, c')|^2 + remain |e(y_t, d) - noise|^2. x is a forgotten picture with its prompt c and
    its new label c', one for each. y is a `kept` picture with its prompt d. Returns the masked tensors of the UNet, float16:
    where the mask is 0 their numbers are the base's. Raises ValueError where `labels` and `forgotten` differ in number.
    """
    if len(labels) != len(forgotten.prompts):
        raise ValueError(f"There are {len(labels)} labels for {len(forgotten.prompts)} pictures.")
    unet = pipeline.unet.eval().requires_grad_(False)
    before = {name: value for name, value in unet.named_parameters() if name in mask}
    changes = nn.ParameterList([nn.Parameter(torch.zeros_like(value)) for value in before.values()])
    others = all_states(pipeline, labels)

    def edited() -> Weights:
        return {name: before[name] + mask[name] * change for name, change in zip(before, changes, strict=True)}

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows, further = forgotten.any(BATCH, generator), kept.any(BATCH, generator)
        noisy, time, _ = forgotten.noised(rows, generator)
        elsewhere, later, noise = kept.noised(further, generator)
        weights = edited()
        with torch.no_grad():
            goal = functional_call(unet, weights, (noisy, time, others[rows])).sample
        inputs = (
            torch.cat([noisy, elsewhere]),
            torch.cat([time, later]),
            torch.cat([forgotten.states[rows], kept.states[further]]),
        )
        of_forgotten, of_kept = functional_call(unet, weights, inputs).sample.chunk(2)
        return (of_forgotten - goal).square().mean() + remain * (of_kept - noise).square().mean()

    train("salun", changes, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    return {name: value.detach().half().contiguous() for name, value in edited().items()}
