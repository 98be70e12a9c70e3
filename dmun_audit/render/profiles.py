"""What draws sooner and is an approximation: the profile "fast" of a policy, and the cache of a transformer's blocks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.policy import Sampling
from dmun_audit.render.defaults import default_steps, denoiser
from dmun_audit.render.schedulers import quick_solver

FEWEST_STEPS = 4  # that "fast" leaves: models that need no more are distilled


def in_profile(pipeline: Any, sampling: Sampling, base: Any = None) -> Sampling:
    """`sampling` with the steps and the scheduler of its profile. "fast" takes half of the steps, and a solver that needs fewer.

    Where `pipeline` shares the steps of a pipeline `base`, these count.
    """
    if sampling.profile == "fidelity":
        return sampling
    steps = default_steps(base or pipeline) if sampling.steps == "model" else sampling.steps
    if steps <= FEWEST_STEPS:
        return replace(sampling, steps=steps)
    return replace(sampling, steps=max(FEWEST_STEPS, (steps + 1) // 2), scheduler=quick_solver(pipeline.scheduler))


class BlockCache:
    """diffusers' first-block cache of a pipeline's transformer, or none. It is on only while a batch is drawn.

    Where the first block changes little from one step to the next, over the whole batch, the other blocks are not computed. Raises
    UsageError for a pipeline that has no such cache.
    https://huggingface.co/docs/diffusers/optimization/cache
    """

    def __init__(self, pipeline: Any, kind: Literal["none", "first-block"]) -> None:
        self._is_on = kind == "first-block"
        if not self._is_on:
            return
        network, call = denoiser(pipeline), inspect.unwrap(type(pipeline).__call__)
        if not hasattr(network, "enable_cache") or "cache_context" not in call.__code__.co_names:
            raise UsageError(
                "sampling.cache = 'first-block' does not suit this model",
                f"{type(pipeline).__name__} with a {type(network).__name__} has no such cache in diffusers",
                "leave the key out",
            )

    @contextmanager
    def enabled(self, pipeline: Any) -> Iterator[None]:
        """Draw with the cache, which starts empty. `pipeline` is the one that is drawn with."""
        if not self._is_on:
            yield
            return
        from diffusers import FirstBlockCacheConfig

        network = denoiser(pipeline)
        network.enable_cache(FirstBlockCacheConfig())
        try:
            yield
        finally:
            network.disable_cache()
