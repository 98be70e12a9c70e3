"""How many images one model draws at a time: what the memory of its device takes, and what draws the most images per second."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dmun_audit.models.loaded import LoadedModel
from dmun_audit.plan.case import Side
from dmun_audit.policy import Sampling
from dmun_audit.render.acceleration import common_level
from dmun_audit.render.drawing import Execution
from dmun_audit.render.own_settings import own_differences, own_sampling
from dmun_audit.render.sampling import PipelineSampler

PROMPT = "a house"
STEPS = 2  # each step needs the same memory; PixArt takes a single step for that of a distilled model
MOST_IMAGES = 64  # a larger batch would put most of an audit between two looks
LEAST_GAIN = 1.05  # a batch of twice the size counts as faster if it draws 5% more images per second
MOST_MEMORY = 0.9  # of the GPU: the judges and the second model need some

Draw = Callable[[int], None]
"""Draws one whole batch of that size. Raises torch.OutOfMemoryError where the memory is too small."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One size of a batch, as it was measured. `memory` is the largest share of the GPU's memory in use; 0 if torch does not say."""

    size: int
    images_per_second: float
    memory: float


def drawer(models: Mapping[Side, LoadedModel], sampling: Sampling, device: str, *, own_settings: bool = False) -> Draw:
    """What draws one batch with each of `models` that has a pipeline; with `own_settings`, also with the candidate's own settings."""
    is_plain = common_level(sampling.acceleration, models.values()) == "none"
    execution = Execution("none" if is_plain else "layout")  # to compile each size of a batch would take minutes

    def draw(size: int) -> None:
        few = replace(sampling, batch=size, steps=STEPS)
        base, candidate = PipelineSampler(models["base"], few, device, execution=execution), models.get("candidate")
        samplers = [base]
        if candidate is not None and candidate.image_source is None:
            samplers.append(PipelineSampler(candidate, few, device, like=base, execution=execution))
            if own_settings and own_differences(models["base"], candidate, few):
                own = replace(own_sampling(candidate, few), steps=STEPS)
                samplers.append(PipelineSampler(candidate, own, device, like=base, only_size=True, execution=execution))
        for sampler in samplers:
            sampler.sample([PROMPT] * size, range(size))

    return draw


def largest_fit(draw: Draw, wanted: int, memory: Callable[[], float] = lambda: 0.0) -> int:
    """`wanted`, halved until one batch fits into memory and leaves some of it; 0 if not even one image does. `memory` is as in `measure`."""
    size = wanted
    memory()
    while size and not (_fits(draw, size) and memory() <= MOST_MEMORY):
        release_memory()
        logger.info("a batch of %d images does not fit into memory", size)
        size //= 2
    return size


def measure(
    draw: Draw, memory: Callable[[], float] = lambda: 0.0, clock: Callable[[], float] = time.perf_counter
) -> list[Measured]:
    """Measure 1, 2, 4, … images in a batch, up to the first size that does not fit, or that draws hardly more images per second.

    The last one is the size to take; the list is empty if not even one image fits. `memory` gives the largest share of the memory
    in use since it was asked before.
    """
    taken: list[Measured] = []
    size = 1
    while size <= MOST_IMAGES:
        memory()
        if not _fits(draw, size):  # also warms up: the first batch of a size chooses kernels
            break
        started = clock()
        draw(size)
        now = Measured(size, size / max(clock() - started, 1e-9), memory())
        logger.info("batches of %d: %.2f images per second, %.0f%% of the memory", size, now.images_per_second, 100 * now.memory)
        if taken and (now.memory > MOST_MEMORY or now.images_per_second < LEAST_GAIN * taken[-1].images_per_second):
            break
        taken.append(now)
        size *= 2
    release_memory()
    return taken


def memory_meter(device: str) -> Callable[[], float]:
    """See `memory` of `measure`. Only CUDA (and ROCm) counts the largest use."""
    import torch

    def used() -> float:
        share = torch.cuda.max_memory_reserved() / torch.cuda.mem_get_info()[1]
        torch.cuda.reset_peak_memory_stats()
        return share

    return used if device == "cuda" else lambda: 0.0


def release_memory() -> None:
    """Give memory that no tensor uses back to the device: another process may draw there."""
    import torch

    gc.collect()  # pipelines hold circles of references
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _fits(draw: Draw, size: int) -> bool:
    """Whether a batch fits into memory. Raises whatever else the pipelines raise."""
    import torch

    try:
        draw(size)
    except torch.OutOfMemoryError:
        return False
    return True
