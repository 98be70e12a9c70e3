"""Draws pictures with predictions of an attack, from noise or from pictures that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dmun_audit.plan.case import Side
from dmun_audit.probes.parts.network import Predictor, denoise
from dmun_audit.render.schedulers import replacement

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench


def drawn(bench: Bench, side: Side, predictor: Predictor, seeds: Sequence[int]) -> np.ndarray:
    """One image of each seed (n, height, width, 3) uint8, as the side's pipeline would draw it with these predictions."""
    network, scheduler = bench.network(side), bench.scheduler(side)
    latents = network.noise(seeds) * scheduler.init_noise_sigma
    return network.decode(denoise(lambda place: predictor, scheduler, latents, bench.steps))


def ddim(bench: Bench, side: Side, **further: Any) -> Any:
    """A DDIM scheduler with the noise levels of a side's own scheduler, and with `further` settings."""
    return type(found := replacement(bench.scheduler(side), "ddim")).from_config(found.config, **further)


def noised_for(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, steps: int, place: int) -> torch.Tensor:
    """Clean latents with the noise that a scheduler expects before step `place` of `steps`; clean ones after the last step."""
    own = type(scheduler).from_config(scheduler.config)  # the scheduler that draws counts its steps
    own.set_timesteps(steps, device=latents.device)
    if place >= len(own.timesteps):
        return latents
    if hasattr(own, "set_begin_index"):
        own.set_begin_index(place)
    noised: torch.Tensor = own.add_noise(latents, noise, own.timesteps[place : place + 1].repeat(len(latents)))
    return noised.to(latents.dtype)


def redrawn(
    bench: Bench,
    side: Side,
    predictor: Predictor,
    latents: torch.Tensor,
    noise: torch.Tensor,
    start: int = 0,
    after: Callable[[Any, int, torch.Tensor], torch.Tensor] = lambda scheduler, place, latents: latents,
) -> torch.Tensor:
    """Latents that are drawn again from step `start` on, with `noise` in front. `after` also gets the scheduler."""
    scheduler = bench.scheduler(side)
    noised = noised_for(scheduler, latents, noise, bench.steps, start)
    return denoise(
        lambda place: predictor, scheduler, noised, bench.steps, start, lambda place, latents: after(scheduler, place, latents)
    )
