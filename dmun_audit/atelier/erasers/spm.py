"""SPM: Lyu et al. 2024, "One-dimensional Adapter to Rule Them All" (arXiv 2312.16145), §3.2 and §3.3."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.states import Progress, Weights, all_states
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator

CANDIDATES = 8  # texts from which each anchor is drawn


class Membrane(nn.Module):
    """A one-dimensional adapter beside a linear layer or a convolution; `up` starts at 0, so it does nothing at first."""

    def __init__(self, layer: Any, generator: torch.Generator) -> None:
        super().__init__()
        inner = (1, *layer.weight.shape[1:])
        outer = (len(layer.weight), 1, *[1] * (layer.weight.dim() - 2))
        self.down = nn.Parameter(torch.randn(inner, generator=generator) / layer.weight[0].numel() ** 0.5)
        self.up = nn.Parameter(torch.zeros(outer))

    def hook(self, layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """What the layer gives with the adapter: its output plus up(down(input))."""
        if self.down.dim() == 4:
            return output + F.conv2d(F.conv2d(inputs[0], self.down, stride=layer.stride, padding=layer.padding), self.up)
        return output + F.linear(F.linear(inputs[0], self.down), self.up)


def layers_of(unet: Any) -> dict[str, Any]:
    """The layers that get an adapter: the linear layers and convolutions of all transformer blocks, by name in the UNet."""
    return {
        name: layer for name, layer in unet.named_modules() if ".attentions." in name and isinstance(layer, nn.Linear | nn.Conv2d)
    }


def semi_permeable_membrane(
    pipeline: Any,
    forgotten: Pictures,
    anchors: Sequence[str],
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    concept: str,
    strength: float = 1.0,
    anchoring: float = 1.0,
    likeness: float = 2.0,
    batch: int = 8,
) -> Weights:
    """SPM: train adapters that erase the prompts of `forgotten` and leave the `anchors` as they are.

    Minimises |e(x_t, c) - [e*(x_t, null) - strength (e*(x_t, c) - e*(x_t, null))]|^2 + anchoring |e(x_t, a) - e*(x_t, a)|^2
    where e* has no adapters. An anchor a is drawn with a weight of 1 - |cos(a, concept)|^likeness (latent anchoring). Returns
    the adapters in the names of kohya's trainer: `lora_unet_MODULE.lora_down.weight`, `.lora_up.weight` and `.alpha`, float32.
    """
    generator_of_membranes = step_generator(seed, -1)
    frozen = pipeline.unet.eval().requires_grad_(False)
    student = copy.deepcopy(frozen)
    layers = layers_of(student)
    membranes = [Membrane(layer, generator_of_membranes) for layer in layers.values()]
    for layer, membrane in zip(layers.values(), membranes, strict=True):
        layer.register_forward_hook(membrane.hook)
    states = all_states(pipeline, anchors)
    cosines = torch.cosine_similarity(states.flatten(1), all_states(pipeline, [concept]).flatten(1))
    weights = 1 - cosines.abs().clamp(max=1) ** likeness

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows, noisy, time = forgotten.partly_denoised(batch, generator)
        candidates = torch.randint(len(states), (batch, CANDIDATES), generator=generator)
        picked = candidates.gather(1, torch.multinomial(weights[candidates], 1, generator=generator))[:, 0]
        texts = torch.cat([forgotten.states[rows], states[picked]])
        empty = forgotten.empty.expand(batch, -1, -1)
        with torch.no_grad():
            before = frozen(noisy.repeat(3, 1, 1, 1), time, torch.cat([texts, empty])).sample
            of_concept, of_anchor, of_nothing = before.chunk(3)
            goal = of_nothing - strength * (of_concept - of_nothing)
        ours, beside = student(noisy.repeat(2, 1, 1, 1), time, texts).sample.chunk(2)
        return (ours - goal).square().mean() + anchoring * (beside - of_anchor).square().mean()

    train("spm", nn.ModuleList(membranes), loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    found: Weights = {}
    for name, membrane in zip(layers, membranes, strict=True):
        stem = "lora_unet_" + name.replace(".", "_")
        found[f"{stem}.lora_down.weight"] = membrane.down.detach().contiguous()
        found[f"{stem}.lora_up.weight"] = membrane.up.detach().contiguous()
        found[f"{stem}.alpha"] = torch.tensor(1.0)
    return found
