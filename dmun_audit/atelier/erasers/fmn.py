"""FMN: Zhang et al. 2023, "Forget-Me-Not: Learning to Forget in Text-to-Image Diffusion Models" (arXiv 2303.17591), §3.2."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dmun_audit.atelier.erasers.attention import recorded
from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.states import Progress, only, where_named
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator


def forget_me_not(
    pipeline: Any,
    forgotten: Pictures,
    names: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    padding: bool = True,
    batch: int = 8,
) -> Any:
    """FMN: fine-tune the cross-attention until the places of the latent attend to `names` no more (attention resteering).

    Minimises the sum over cross-attentions of |A|^2 at the positions of the names, on the `forgotten` pictures. A is the
    share of attention. With `padding`, the positions after a name count too: they attend to the name, so the concept stays
    in them. Returns a UNet in which only the cross-attention changed.
    """
    student = copy.deepcopy(pipeline.unet).eval()
    chosen = only(student, lambda name: ".attn2." in name)
    named = where_named(pipeline, forgotten.prompts, names, padding=padding)

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows = forgotten.any(batch, generator)
        noisy, time, _ = forgotten.noised(rows, generator)
        with recorded(student) as maps:
            student(noisy, time, forgotten.states[rows])
        chosen_tokens = named[rows][:, None, None, :]
        return torch.stack([(shares * chosen_tokens).sum(dim=-1).square().mean() for shares in maps.values()]).sum()

    train(
        "fmn",
        student,
        loss_of,
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        progress=progress,
        parameters=chosen.values(),
    )
    return student
