"""Draws pictures with predictions of an attack, from noise or from pictures that are there already."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dmun_audit.plan.case import Side
from dmun_audit.probes.parts.network import Predictor, denoise, generators
from dmun_audit.render.schedulers import replacement

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench


def drawn(bench: Bench, side: Side, predictor: Predictor, seeds: Sequence[int]) -> np.ndarray:
    """One image of each seed (n, height, width, 3) uint8, as the side's pipeline would draw it with these predictions."""
    network, scheduler, sources = bench.network(side), bench.scheduler(side), generators(seeds)
    latents = network.noise_from(sources) * scheduler.init_noise_sigma
    return network.decode(denoise(lambda place: predictor, scheduler, latents, bench.steps, **fresh(scheduler, sources)))


def fresh(scheduler: Any, sources: list[torch.Generator]) -> dict[str, Any]:
    """The argument of a scheduler's step with which its fresh noise comes from `sources`, one for each image; none where it takes none."""
    return {"generator": sources} if "generator" in inspect.signature(scheduler.step).parameters else {}


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
    seeds: Sequence[int],
    start: int = 0,
    after: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Clean latents, drawn again from step `start` on, under noise of their seeds.

    `after` gets a step, the latents after it, and the given latents with the noise that belongs there. It may change the latents.
    """
    network, scheduler, sources = bench.network(side), bench.scheduler(side), generators(seeds)
    noise = network.noise_from(sources)

    def given(place: int) -> torch.Tensor:
        return noised_for(scheduler, latents, noise, bench.steps, place)

    def changed(place: int, drawn: torch.Tensor) -> torch.Tensor:
        return after(place, drawn, given(place + 1)) if after else drawn

    further = fresh(scheduler, sources)
    return denoise(lambda place: predictor, scheduler, given(start), bench.steps, start, changed, **further)
