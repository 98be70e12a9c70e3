"""Controls with a known answer: weights that erase nothing, and weights that ruin everything."""

from __future__ import annotations

from typing import Any

import torch

from dmun_audit.atelier.erasers.states import Weights, keys_and_values


@torch.no_grad()
def untouched(pipeline: Any) -> Weights:
    """A control with the known answer "nothing was erased": the tensors that UCE edits, unchanged."""
    return {name: weight.float().clone() for name, weight in keys_and_values(pipeline)}


@torch.no_grad()
def damaged(pipeline: Any, *, noise: float, seed: int) -> Weights:
    """A control with the known answer "other concepts are damaged": keys and values with added noise.

    The standard deviation of the noise is `noise` times the standard deviation of each tensor.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: weight + noise * weight.std() * torch.randn(weight.shape, generator=generator)
        for name, weight in untouched(pipeline).items()
    }
