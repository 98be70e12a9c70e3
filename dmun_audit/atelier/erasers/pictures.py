"""Latents that the model before erasure draws, as training data of the erasers: no painted picture is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dmun_audit.atelier import networks
from dmun_audit.atelier.erasers.states import all_states
from dmun_audit.atelier.tensors import step_generator

GRID = 20  # steps of DDIM
TOGETHER = 16  # pictures drawn at a time


@dataclass(frozen=True)
class Pictures:
    """Latents drawn for `prompts`, one each, with every step on the way.

    `states` (n, positions, width) are the prompts as the UNet reads them, and `empty` (1, positions, width) is the empty
    prompt. `times` (GRID,) are the time steps of DDIM, from noise to picture. `noisy` (n, GRID, 32, 8, 8) are the latents
    before each of these steps, and `finished` (n, 32, 8, 8) are the latents after the last one.
    """

    prompts: tuple[str, ...]
    states: torch.Tensor
    empty: torch.Tensor
    times: torch.Tensor
    noisy: torch.Tensor
    finished: torch.Tensor

    def partly_denoised(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`count` draws, all at one time step: indices (count,), latents (count, 32, 8, 8), time step ()."""
        chosen = torch.randint(len(self.prompts), (count,), generator=generator)
        step = int(torch.randint(GRID, (), generator=generator))
        return chosen, self.noisy[chosen, step], self.times[step]

    def noised(
        self, chosen: torch.Tensor, generator: torch.Generator, shares: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Finished latents of the indices `chosen` with fresh noise: noisy latents, time steps (count,), the noise.

        `shares` (1000,) are weights of the time steps; without it all are equally likely.
        """
        shares = torch.ones(1000) if shares is None else shares
        time = torch.multinomial(shares, len(chosen), replacement=True, generator=generator)
        noise = torch.randn(self.finished[chosen].shape, generator=generator)
        signal = _signal()[time][:, None, None, None]
        return signal.sqrt() * self.finished[chosen] + (1 - signal).sqrt() * noise, time, noise

    def part(self, rows: Sequence[int]) -> Pictures:
        """The pictures with the indices `rows`."""
        chosen = list(rows)
        prompts = tuple(self.prompts[row] for row in chosen)
        return Pictures(prompts, self.states[chosen], self.empty, self.times, self.noisy[chosen], self.finished[chosen])

    def any(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` random indices, with replacement."""
        return torch.randint(len(self.prompts), (count,), generator=generator)


def _signal() -> torch.Tensor:
    """The share of signal in the variance at each time step (1000,)."""
    from diffusers import DDIMScheduler

    kept: torch.Tensor = DDIMScheduler(**networks.noise_schedule()).alphas_cumprod
    return kept


@torch.no_grad()
def draw_pictures(pipeline: Any, prompts: Sequence[str], *, seed: int, guidance: float = networks.GUIDANCE) -> Pictures:
    """Draw one latent for each prompt with DDIM and classifier-free guidance. The noise depends on `seed` and the order."""
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(**networks.noise_schedule(), clip_sample=False)  # latents are not bounded by 1
    schedule.set_timesteps(GRID)
    states, empty = all_states(pipeline, prompts), all_states(pipeline, [""])
    shape = (len(prompts), networks.LATENT_CHANNELS, networks.LATENT_SIZE, networks.LATENT_SIZE)
    start = torch.randn(shape, generator=step_generator(seed, 0))
    noisy, finished = [], []
    for latent, texts in zip(start.split(TOGETHER), states.split(TOGETHER), strict=True):
        way = []
        both = torch.cat([texts, empty.expand(len(texts), -1, -1)])
        for time in schedule.timesteps:
            way.append(latent)
            conditional, unconditional = pipeline.unet(latent.repeat(2, 1, 1, 1), time, both).sample.chunk(2)
            guided = unconditional + guidance * (conditional - unconditional)
            latent = schedule.step(guided, time, latent).prev_sample
        noisy.append(torch.stack(way, dim=1))
        finished.append(latent)
    return Pictures(tuple(prompts), states, empty, schedule.timesteps, torch.cat(noisy), torch.cat(finished))
