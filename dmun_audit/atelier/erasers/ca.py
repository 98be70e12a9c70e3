"""CA: Kumari et al. 2023, "Ablating Concepts in Text-to-Image Diffusion Models" (arXiv 2303.13516), §3, the model-based variant."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.states import Progress, Weights, all_states, detached, only
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator


def concept_ablation(
    pipeline: Any,
    anchors: Pictures,
    targets: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    prior: float = 1.0,
    batch: int = 8,
) -> Weights:
    """CA: fine-tune cross-attention keys and values so that `targets` act like the prompts of `anchors`, pair by pair.

    Minimises |e(x_t, c*) - sg e(x_t, c)|^2 + prior |e(x_t, c) - noise|^2. x is a picture of the anchor prompt c, c* is its
    target prompt, and sg stops the gradient of the network that is trained. Returns keys and values by name in the UNet,
    float16. Raises ValueError where `targets` and `anchors` differ in number.
    """
    if len(targets) != len(anchors.prompts):
        raise ValueError(f"There are {len(targets)} targets for {len(anchors.prompts)} anchors.")
    student = copy.deepcopy(pipeline.unet).eval()
    chosen = only(student, lambda name: name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")))
    wanted = all_states(pipeline, targets)

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows = anchors.any(batch, generator)
        noisy, time, noise = anchors.noised(rows, generator)
        both = student(noisy.repeat(2, 1, 1, 1), time.repeat(2), torch.cat([wanted[rows], anchors.states[rows]])).sample
        of_target, of_anchor = both.chunk(2)
        return (of_target - of_anchor.detach()).square().mean() + prior * (of_anchor - noise).square().mean()

    train(
        "ca",
        student,
        loss_of,
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        progress=progress,
        parameters=chosen.values(),
    )
    return detached(chosen, torch.float16)
