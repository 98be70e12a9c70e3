"""What texts are to the UNet, and the weights that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Progress = Callable[[str], None]
Weights = dict[str, torch.Tensor]


@torch.no_grad()
def concept_states(pipeline: Any, texts: Sequence[str]) -> list[torch.Tensor]:
    """Outputs of the text encoder for each text, from its last token to the end of the padding: (tokens, width), float32.

    The padding attends to the concept, and the UNet attends to the padding. So the padding contains the concept too.
    """
    tokens = pipeline.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    states = pipeline.text_encoder(tokens.input_ids).last_hidden_state.float()
    last = tokens.attention_mask.sum(dim=1) - 2  # before the end token
    return [state[first:] for state, first in zip(states, last.tolist(), strict=True)]


def tokens_of(pipeline: Any, texts: Sequence[str]) -> torch.Tensor:
    """The token ids of texts with begin, end and padding: (texts, positions)."""
    ids: torch.Tensor = pipeline.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


@torch.no_grad()
def all_states(pipeline: Any, texts: Sequence[str]) -> torch.Tensor:
    """Outputs of the text encoder for texts: (texts, positions, width), float32."""
    states: torch.Tensor = pipeline.text_encoder(tokens_of(pipeline, texts)).last_hidden_state.float()
    return states


def where_named(pipeline: Any, texts: Sequence[str], names: Sequence[str], *, padding: bool) -> torch.Tensor:
    """Which positions of each text hold one of `names`: (texts, positions), bool. Names are matched as whole tokens.

    With `padding`, all positions after the name count too, because they attend to the name. Raises ValueError for a text
    without a name.
    """
    wanted = [pipeline.tokenizer(name, add_special_tokens=False).input_ids for name in names]
    rows = tokens_of(pipeline, texts)
    found = torch.zeros(rows.shape, dtype=torch.bool)
    for index, row in enumerate(rows.tolist()):
        for name in wanted:
            for first in range(len(row) - len(name) + 1):
                if row[first : first + len(name)] == name:
                    found[index, first : len(row) if padding else first + len(name)] = True
        if not found[index].any():
            raise ValueError(f"{texts[index]!r} has none of the names {', '.join(names)}.")
    return found


def keys_and_values(pipeline: Any) -> list[tuple[str, torch.Tensor]]:
    """The projections of the text to keys and values in every cross-attention, by name in the UNet."""
    wanted = ("attn2.to_k.weight", "attn2.to_v.weight")
    return [(name, weight) for name, weight in pipeline.unet.named_parameters() if name.endswith(wanted)]


def only(network: Any, chosen: Callable[[str], bool]) -> dict[str, torch.nn.Parameter]:
    """Let the parameters of a network whose names are `chosen` take gradients, and no others. Returns them by name."""
    network.requires_grad_(False)
    found = {name: value for name, value in network.named_parameters() if chosen(name)}
    for value in found.values():
        value.requires_grad_(True)
    return found


def detached(weights: dict[str, torch.nn.Parameter], dtype: torch.dtype) -> Weights:
    """Copies of trained parameters as plain tensors of the number format `dtype`."""
    return {name: value.detach().to(dtype).contiguous() for name, value in weights.items()}
