"""Draws pictures from noise with predictions of an attack, under the audit's scheduler and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmun_audit.plan.case import Side
from dmun_audit.probes.parts.network import Predictor, denoise

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench


def drawn(bench: Bench, side: Side, predictor: Predictor, seeds: Sequence[int]) -> np.ndarray:
    """One image of each seed (n, height, width, 3) uint8, as the side's pipeline would draw it with these predictions."""
    network, scheduler = bench.network(side), bench.scheduler(side)
    latents = network.noise(seeds) * scheduler.init_noise_sigma
    return network.decode(denoise(lambda place: predictor, scheduler, latents, bench.steps))
