"""ESD: Gandikota et al. 2023, "Erasing Concepts from Diffusion Models" (arXiv 2303.07345), equations 6 and 7.

This is the variant that trains the cross-attention (ESD-x).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dmun_audit.atelier import networks
from dmun_audit.atelier.erasers.states import Progress, Weights
from dmun_audit.atelier.loop import train


def erased_stable_diffusion(
    pipeline: Any,
    prompts: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    strength: float = 1.0,
    sampling_guidance: float = 3.0,
    device: str = "cpu",
) -> Weights:
    """ESD-x: fine-tune the cross-attention away from `prompts`.

    Minimises |e(x_t, c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 where x_t is sampled from the
    frozen model at `sampling_guidance` up to a random step. Returns the tensors of attn2 in bfloat16, by their names in the
    UNet.
    """
    from diffusers import DDIMScheduler

    frozen = copy.deepcopy(pipeline.unet).eval().requires_grad_(False).to(device)
    student = pipeline.unet.requires_grad_(False)
    chosen = {name: value for name, value in student.named_parameters() if ".attn2." in name}
    for value in chosen.values():
        value.requires_grad_(True)
    tokens = pipeline.tokenizer([*prompts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipeline.text_encoder(tokens.to(pipeline.device)).last_hidden_state.to(device)
    schedule, batch, grid = DDIMScheduler(**networks.noise_schedule()), 8, 20
    schedule.set_timesteps(grid)

    def with_and_without(noisy: torch.Tensor, time: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The predictions of the frozen model for the prompts of `rows`, and for the empty prompt."""
        texts = torch.cat([states[rows], states[-1:].expand(len(rows), -1, -1)])
        return frozen(noisy.repeat(2, 1, 1, 1), time, texts).sample.chunk(2)

    def loss_of(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed * 100_003 + step)
        rows = torch.randint(len(prompts), (batch,), generator=generator)
        stop = int(torch.randint(grid - 1, (), generator=generator))
        shape = (batch, networks.LATENT_CHANNELS, networks.LATENT_SIZE, networks.LATENT_SIZE)
        noisy = torch.randn(shape, generator=generator).to(device)
        with torch.no_grad():
            for time in schedule.timesteps[: stop + 1]:
                conditional, unconditional = with_and_without(noisy, time, rows)
                guided = unconditional + sampling_guidance * (conditional - unconditional)
                noisy = schedule.step(guided, time, noisy).prev_sample
            time = schedule.timesteps[stop + 1]
            conditional, unconditional = with_and_without(noisy, time, rows)
            goal = unconditional - strength * (conditional - unconditional)
        return (student(noisy, time, states[rows]).sample - goal).square().mean()

    train(
        "esd",
        student,
        loss_of,
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        progress=progress,
        parameters=chosen.values(),
        device=device,
    )
    return {name: value.detach().to(torch.bfloat16).contiguous() for name, value in chosen.items()}
