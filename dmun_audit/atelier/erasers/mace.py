"""MACE: Lu et al. 2024, "MACE: Mass Concept Erasure in Diffusion Models" (arXiv 2403.06135), §3: refinement, LoRA, fusion."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dmun_audit.atelier.erasers.attention import recorded
from dmun_audit.atelier.erasers.pictures import Pictures
from dmun_audit.atelier.erasers.states import Progress, Weights, all_states, concept_states, keys_and_values, where_named
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.tensors import step_generator

BATCH = 8


@torch.no_grad()
def refined(
    pipeline: Any, templates: Sequence[str], names: Sequence[str], guide: str, preserve: Sequence[str], *, weight: float = 1.0
) -> Weights:
    """Keys and values for which the words around a name are like the words around `guide` (closed-form refinement, §3.2).

    Every template holds `{name}`. The words after the name contain it through the text encoder, and so does the padding.
    Minimises sum |W f - W0 g|^2 + weight sum |W p - W0 p|^2. f and g are states of the same word beside a name and beside
    the guide, and p are states of the texts `preserve`. Returns float64 tensors by name in the UNet.
    """
    beside, plain = [], []
    for template in templates:
        for name in names:
            texts = (template.format(name=name), template.format(name=guide))
            found = []
            for text, inner in zip(texts, (name, guide), strict=True):
                around = ~where_named(pipeline, [text], [inner], padding=False)[0]
                found.append(all_states(pipeline, [text])[0][around].double())
            shared = min(map(len, found))
            beside.append(found[0][:shared])
            plain.append(found[1][:shared])
    before, after = torch.cat(beside), torch.cat(plain)
    kept = torch.cat(concept_states(pipeline, preserve)).double()
    towards = (after.T @ before + weight * kept.T @ kept) @ _inverse(before.T @ before + weight * kept.T @ kept)
    return {name: value.double() @ towards for name, value in keys_and_values(pipeline)}


def _inverse(gram: torch.Tensor) -> torch.Tensor:
    """The inverse of a Gram matrix, with a small ridge: few texts do not span all directions."""
    return torch.linalg.inv(gram + 1e-4 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype))


class LowRank(nn.Module):
    """Low-rank changes of the keys of every cross-attention; `up` starts at 0."""

    def __init__(self, weights: Mapping[str, torch.Tensor], rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.names = [name for name in weights if name.endswith("to_k.weight")]
        shapes = [weights[name].shape for name in self.names]
        self.down = nn.ParameterList([torch.randn((rank, inner), generator=generator) / inner**0.5 for _, inner in shapes])
        self.up = nn.ParameterList([torch.zeros((outer, rank)) for outer, _ in shapes])

    def change(self, name: str) -> torch.Tensor:
        """The change up·down of the weight `name`."""
        index = self.names.index(name)
        return self.up[index] @ self.down[index]


def importance() -> torch.Tensor:
    """Weights of the 1,000 time steps: most lie between 200 and 400, where the concept is formed (§3.3)."""
    time = torch.arange(1000.0)
    return torch.sigmoid(0.05 * (time - 200)) - torch.sigmoid(0.05 * (time - 400)) + 1e-3


def suppressing(
    pipeline: Any,
    weights: Weights,
    forgotten: Pictures,
    name: str,
    checkpoint: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    rank: int = 1,
) -> dict[str, torch.Tensor]:
    """Low-rank changes on top of `weights` under which no place attends to the tokens of `name` (§3.3).

    Minimises the mean of A^2 at these tokens over all cross-attentions. A is the share of attention on the `forgotten`
    pictures. A style fills the whole picture, so no segmentation limits it. Returns changes of keys, float64, by name.
    """
    student = copy.deepcopy(pipeline.unet).eval().requires_grad_(False)
    student.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False)
    adapter = LowRank(weights, rank, step_generator(seed, -1))
    for index, key in enumerate(adapter.names):
        layer = student.get_submodule(key.removesuffix(".weight"))
        layer.register_forward_hook(
            lambda _, inputs, output, index=index: output + inputs[0] @ adapter.down[index].T @ adapter.up[index].T
        )
    named = where_named(pipeline, forgotten.prompts, [name], padding=False)
    shares_of_time = importance()

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        rows = forgotten.any(BATCH, generator)
        noisy, time, _ = forgotten.noised(rows, generator, shares_of_time)
        with recorded(student) as maps:
            student(noisy, time, forgotten.states[rows])
        chosen = named[rows][:, None, None, :]
        return torch.stack([(shares * chosen).sum(dim=-1).square().mean() for shares in maps.values()]).mean()

    train(f"mace {name}", adapter, loss_of, steps=steps, rate=rate, checkpoint=checkpoint, progress=progress)
    return {key: adapter.change(key).detach().double() for key in adapter.names}


@torch.no_grad()
def fused(
    pipeline: Any,
    weights: Weights,
    changes: Sequence[dict[str, torch.Tensor]],
    names: Sequence[str],
    templates: Sequence[str],
    preserve: Sequence[str],
    *,
    weight: float = 1.0,
) -> Weights:
    """One set of keys and values for all concepts, in closed form (§3.4).

    Minimises sum_i |W e_i - (W' + change_i) e_i|^2 + weight |W p - W' p|^2. W' are the refined `weights`, e_i the states of
    texts with the name i, and p the states of the texts `preserve`. Returns bfloat16 tensors by name in the UNet.
    """
    states = [
        torch.cat(list(all_states(pipeline, [template.format(name=name) for template in templates]))).double() for name in names
    ]
    kept = torch.cat(concept_states(pipeline, preserve)).double()
    grams = [state.T @ state for state in states]
    of_kept = weight * kept.T @ kept
    inverse = _inverse(torch.stack(grams).sum(dim=0) + of_kept)
    found = {}
    for key, value in weights.items():
        wanted = value @ of_kept
        for gram, change in zip(grams, changes, strict=True):
            wanted = wanted + (value + change.get(key, 0.0)) @ gram
        found[key] = (wanted @ inverse).to(torch.bfloat16).contiguous()
    return found
