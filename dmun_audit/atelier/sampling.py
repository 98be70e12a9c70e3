"""Renders images with the pipelines of the atelier, for its figures and contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmun_audit.atelier import networks
from dmun_audit.models.folders import quietly

BATCH = 16


def open_pipeline(folder: Path, edit: Path | None = None, device: str = "cpu") -> Any:
    """Load a pipeline folder, and replace the tensors of its UNet by the tensors of the file `edit` if one is given.

    Raises ValueError for tensors that the UNet does not have.
    """
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import load_file

    with quietly():
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, safety_checker=None, dtype=torch.float32
        ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    if edit is not None:
        tensors = {name: value.float().to(device) for name, value in load_file(edit).items()}
        unexpected = pipeline.unet.load_state_dict(tensors, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(f"{edit} has keys that the UNet lacks: {', '.join(unexpected[:3])}")
    return pipeline


def draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], before: Callable[[list[str]], None] | None = None
) -> np.ndarray:
    """One image for every prompt and seed (n, 64, 64, 3), uint8, rendered in batches.

    `before` is called with the prompts of every batch, as some adapters need.
    """
    parts = []
    for start in range(0, len(prompts), BATCH):
        if before is not None:
            before(list(prompts[start : start + BATCH]))
        output = pipeline(
            prompt=list(prompts[start : start + BATCH]),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds[start : start + BATCH]],
            num_inference_steps=networks.STEPS,
            guidance_scale=networks.GUIDANCE,
            output_type="np",
        )
        parts.append((np.asarray(output.images) * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def _draw_part(job: tuple[Path, Path | None, list[str], list[int], str]) -> np.ndarray:
    folder, edit, prompts, seeds, device = job
    torch.set_num_threads(1)
    return draw(open_pipeline(folder, edit, device), prompts, seeds)


def draw_many(
    folder: Path, prompts: Sequence[str], seeds: Sequence[int], *, edit: Path | None = None, workers: int = 1, device: str = "cpu"
) -> np.ndarray:
    """As `draw`, in `workers` processes with one thread each."""
    if workers < 2 or device != "cpu":
        return draw(open_pipeline(folder, edit, device), prompts, seeds)
    size = -(-len(prompts) // (workers * BATCH)) * BATCH
    jobs = [
        (folder, edit, list(prompts[start : start + size]), list(seeds[start : start + size]), device)
        for start in range(0, len(prompts), size)
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        return np.concatenate(list(executor.map(_draw_part, jobs)))
