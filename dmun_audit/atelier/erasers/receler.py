"""Receler: Huang et al. 2024, "Receler: Reliable Concept Erasing of Text-to-Image Diffusion Models via Lightweight Erasers"
(arXiv 2311.17717), §3."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dmun_audit.atelier.erasers.attention import Maps, recorded
from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.prefixes import adversarial_prefix, prefixed_states
from dmun_audit.atelier.erasers.states import Progress, tokens_of, where_named
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator


class Eraser(nn.Module):
    """up(GELU(down(a))), to be added to the output a (n, places, width) of a cross-attention; `up` starts at 0."""

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        with torch.no_grad():
            self.down.weight.copy_(torch.randn((rank, width), generator=generator) / width**0.5)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, output: torch.Tensor) -> torch.Tensor:
        """What is added to the output of the cross-attention."""
        added: torch.Tensor = self.up(F.gelu(self.down(output)))
        return added


def concept_masks(maps: Maps, named: torch.Tensor, threshold: float) -> dict[int, torch.Tensor]:
    """Where the concept is, for every number of places p that the layers have: p → (n, p, 1), 1 or 0.

    `named` (n, tokens) marks the tokens of the concept. Their attention is averaged over layers and heads, scaled from 0 to
    1 in each picture, and compared with `threshold`.
    """
    side = max(int(shares.shape[2] ** 0.5) for shares in maps.values())
    grids = []
    for shares in maps.values():
        attention = (shares * named[:, None, None, :]).sum(dim=-1).mean(dim=1)
        grid = attention.unflatten(1, (int(attention.shape[1] ** 0.5), -1))[:, None]
        grids.append(F.interpolate(grid, (side, side), mode="bilinear"))
    mean = torch.stack(grids).mean(dim=0)
    low, high = mean.amin(dim=(2, 3), keepdim=True), mean.amax(dim=(2, 3), keepdim=True)
    mask = ((mean - low) / (high - low).clamp(min=1e-6) >= threshold).float()
    places = {shares.shape[2] for shares in maps.values()}
    return {count: F.adaptive_max_pool2d(mask, int(count**0.5)).flatten(2).transpose(1, 2) for count in places}


def _behind(eraser: Eraser, index: int, added: dict[int, torch.Tensor]) -> Any:
    """A forward hook that puts an eraser behind a cross-attention and keeps what it adds under `index`."""

    def hook(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        added[index] = eraser(output)
        return output + added[index]

    return hook


def reliable_erasers(
    pipeline: Any,
    forgotten: Pictures,
    names: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    rank: int = 16,
    strength: float = 1.0,
    regularisation: float = 0.1,
    threshold: float = 0.1,
    attack: int = 2,
    words: int = 2,
    batch: int = 8,
) -> dict[str, dict[str, torch.Tensor]]:
    """Receler: train an eraser of `rank` behind every cross-attention; the UNet stays as it is.

    Minimises |e(x_t, d + c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 + regularisation · the mean of o^2
    outside the concept. o is what an eraser adds, and e* has no erasers. `concept_masks` says where the concept is. Every
    other step, d are `words` word vectors in front of the prompt c that bring the concept back, found in `attack` steps
    (adversarial prompt learning); else d is empty. Returns the erasers' state dicts by the name of the attention block,
    float32.
    """
    frozen = pipeline.unet.eval().requires_grad_(False)
    encoder = pipeline.text_encoder.eval().requires_grad_(False)
    student = copy.deepcopy(frozen)
    layers = {
        name.partition(".transformer_blocks")[0]: layer for name, layer in student.named_modules() if name.endswith(".attn2")
    }
    erasers = nn.ModuleList()
    added: dict[int, torch.Tensor] = {}  # what each eraser added in the last call of the student
    generator_of_erasers = step_generator(seed, -1)
    for layer in layers.values():
        eraser = Eraser(layer.to_out[0].out_features, rank, generator_of_erasers)
        layer.register_forward_hook(_behind(eraser, len(erasers), added))
        erasers.append(eraser)
    named = where_named(pipeline, forgotten.prompts, names, padding=False)
    tokens = tokens_of(pipeline, forgotten.prompts)

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows, noisy, time = forgotten.partly_denoised(batch, generator)
        with torch.no_grad(), recorded(frozen) as maps:
            of_concept = frozen(noisy, time, forgotten.states[rows]).sample
            masks = concept_masks(maps, named[rows], threshold)
            of_nothing = frozen(noisy, time, forgotten.empty.expand(batch, -1, -1)).sample
            goal = of_nothing - strength * (of_concept - of_nothing)

        def distance(prefix: torch.Tensor) -> torch.Tensor:
            states = prefixed_states(encoder, tokens[rows], prefix)
            return (student(noisy, time, states).sample - of_concept).square().mean()

        count = words if step % 2 == 0 else 0
        prefix = adversarial_prefix(encoder, distance, rows=batch, count=count, steps=attack if count else 0, generator=generator)
        ours = student(noisy, time, prefixed_states(encoder, tokens[rows], prefix)).sample
        outside = [(part * (1 - masks[part.shape[1]])).square().mean() for part in added.values()]
        return (ours - goal).square().mean() + regularisation * torch.stack(outside).mean()

    train("receler", erasers, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    return {
        name: {key: value.detach().clone() for key, value in eraser.state_dict().items()}
        for name, eraser in zip(layers, erasers, strict=True)
    }
