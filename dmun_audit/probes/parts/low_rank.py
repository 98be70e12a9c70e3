"""Low-rank adapters (LoRA) on the attention of a UNet: train one on images, and draw with it.

An adapter lies on a private copy of the pipeline. So the loaded model keeps its weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.hashing import seed_of
from dmun_audit.models.in_memory import copy_to_draw_with
from dmun_audit.plan.case import Side
from dmun_audit.probes.parts.network import Conditions, Network
from dmun_audit.probes.parts.search import optimise

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.render.sampling import PipelineSampler

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
ADAPTER = "probe"


@dataclass(frozen=True)
class Tuning:
    """How an adapter is trained. `steps` are the numbers of steps after which it is kept.

    One step takes the mean loss over `parts` batches of `batch` images. `images` is the number of images in all.
    """

    steps: tuple[int, ...]
    rate: float
    images: int
    batch: int
    parts: int = 1
    rank: int = 4


@dataclass(frozen=True)
class Lesson:
    """What an adapter is trained on: images (n, height, width, 3) uint8, each with its prompt."""

    images: np.ndarray
    prompts: Sequence[str]


def train(
    bench: Bench, side: Side, lesson: Lesson, tuning: Tuning, name: str, checkpoint: Path
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Train an adapter on one side's model, and return its tensors by NAME@STEP, and the losses on the way.

    `name` decides the initial adapter, the noise, and the order of the images.
    """
    model = bench.model(side)
    pipeline = copy_to_draw_with(model)
    network = Network(replace(model, pipeline=pipeline), bench.engine.device, bench.engine.size)
    with torch.no_grad():
        conditions = network.conditions(lesson.prompts)
    latents = network.encode(lesson.images)
    variables = add_adapter(pipeline, tuning.rank, name)

    def conditions_of(places: list[int]) -> Conditions:
        network.follow([lesson.prompts[place] for place in places])
        return conditions.rows(places)

    def loss_of(step: int) -> torch.Tensor:
        sources = [torch.Generator().manual_seed(seed_of(name, step, part)) for part in range(tuning.parts)]
        return torch.stack([network.error(latents, tuning.batch, each, conditions_of) for each in sources]).mean()

    found, losses = optimise(
        variables,
        loss_of,
        torch.optim.AdamW(list(variables.values()), lr=tuning.rate),
        steps=tuning.steps[-1],
        checkpoint=checkpoint,
        on_step=bench.stepped,
        keep=tuning.steps,
    )
    return {tensor: value for tensor, value in found.items() if "@" in tensor}, losses


def sampler_with(bench: Bench, side: Side, tensors: Mapping[str, torch.Tensor], step: int) -> PipelineSampler:
    """The sampler of a side with the adapter after `step` steps."""
    at_step = {name.removesuffix(f"@{step}"): value for name, value in tensors.items() if name.endswith(f"@{step}")}
    if not at_step:
        raise KeyError(f"the find holds no adapter after {step} steps")

    def change(pipeline: Any) -> Any:
        variables = add_adapter(pipeline, rank_of(at_step), "")
        require_same_names(variables, at_step)
        with torch.no_grad():
            for name, variable in variables.items():
                variable.copy_(at_step[name]).requires_grad_(False)
        return pipeline

    return bench.with_pipeline(side, change)


def add_adapter(pipeline: Any, rank: int, name: str) -> dict[str, torch.Tensor]:
    """Put a new adapter on the attention of a pipeline's UNet, in the pipeline itself. Returns its tensors, which require gradients.

    At first the adapter changes nothing: one factor of each product is zero, and the other follows from `name`.
    """
    torchvision_compatibility.make_importable()
    from peft import LoraConfig

    unet = pipeline.unet
    with torch.random.fork_rng(devices=[]):  # the library draws numbers that are replaced below
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS)), adapter_name=ADAPTER)
    variables = {}
    for place, (full, parameter) in enumerate(sorted(unet.named_parameters())):
        if f".{ADAPTER}." not in full:
            continue
        first = ".lora_A." in full
        generator = torch.Generator().manual_seed(seed_of("adapter", name, place))
        start = torch.randn(parameter.shape, generator=generator) / rank if first else torch.zeros(parameter.shape)
        parameter.data = start.to(parameter.device)  # single precision, whatever the network has
        parameter.requires_grad_(True)
        variables[full.replace(f".{ADAPTER}.", ".")] = parameter
    return variables


def rank_of(tensors: Mapping[str, torch.Tensor]) -> int:
    """The rank of an adapter."""
    return min(len(value) for name, value in tensors.items() if ".lora_A." in name)


def require_same_names(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError if an adapter belongs to another network."""
    other: Collection[str] = {name for name in {*ours, *theirs} if name not in ours or name not in theirs}
    other = other or {name for name in ours if ours[name].shape != theirs[name].shape}
    if other:
        raise ValueError(f"the adapter belongs to another network: {min(other)} does not fit")
