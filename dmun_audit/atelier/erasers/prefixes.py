"""Adversarial prompts of AdvUnlearn and Receler: trained vectors in front of a prompt that bring an erased concept back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def prefixed_states(encoder: Any, tokens: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
    """Outputs of a text encoder for `tokens` (n, positions) with the word vectors `prefix` (n, k, width) after the begin token.

    The last k positions of the padding are dropped. Returns (n, positions, width), with gradients.
    """
    count = prefix.shape[1]

    def insert(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, :1], prefix, output[:, 1 : output.shape[1] - count]], dim=1)

    hook = encoder.get_input_embeddings().register_forward_hook(insert)
    try:
        states: torch.Tensor = encoder(tokens).last_hidden_state
    finally:
        hook.remove()
    return states


def adversarial_prefix(
    encoder: Any,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    *,
    rows: int,
    count: int,
    steps: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Word vectors (rows, count, width) that make `loss_of` small: `steps` steps along the sign of the gradient.

    They start as random vectors of the size of word vectors, and each step moves by half the deviation of word vectors.
    """
    words = encoder.get_input_embeddings().weight.detach()
    deviation = words.std()
    prefix = deviation * torch.randn((rows, count, words.shape[1]), generator=generator)
    for _ in range(steps):
        prefix.requires_grad_(True)
        gradient = torch.autograd.grad(loss_of(prefix), prefix)[0]
        prefix = prefix.detach() - 0.5 * deviation * gradient.sign()
    return prefix.detach()
