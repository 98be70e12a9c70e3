"""The maps of cross-attention: how much each place of the latent attends to each token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

Maps = dict[str, torch.Tensor]


class _Recording:
    """An attention processor that computes attention in full and keeps its map. It ignores attention masks: there are none."""

    def __init__(self, name: str, maps: Maps) -> None:
        self._name = name
        self._maps = maps

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        def heads(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(-1, (attention.heads, -1)).transpose(1, 2)

        query = heads(attention.to_q(hidden_states))
        key = heads(attention.to_k(encoder_hidden_states))
        value = heads(attention.to_v(encoder_hidden_states))
        shares = (query @ key.transpose(-1, -2) * attention.scale).softmax(dim=-1)
        self._maps[self._name] = shares
        output: torch.Tensor = attention.to_out[0]((shares @ value).transpose(1, 2).flatten(2))
        return output


@contextmanager
def recorded(unet: Any) -> Iterator[Maps]:
    """Record the map of every cross-attention, by the module's name in the UNet: (batch, heads, places, tokens).

    Each call of the UNet replaces the maps of the call before. The maps take gradients.
    """
    maps: Maps = {}
    layers = {name: layer for name, layer in unet.named_modules() if name.endswith(".attn2")}
    before = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.processor = _Recording(name, maps)
    try:
        yield maps
    finally:
        for name, layer in layers.items():
            layer.processor = before[name]
