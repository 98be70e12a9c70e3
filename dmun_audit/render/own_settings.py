"""A model's own settings: steps, guidance and scheduler as its card or its pipeline states them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dmun_audit.models.loaded import LoadedModel
from dmun_audit.policy import Sampling
from dmun_audit.render.defaults import default_guidance, default_steps, stated_in_card


def own_sampling(model: LoadedModel, sampling: Sampling) -> Sampling:
    """The policy's `sampling` with the model's own steps, guidance and scheduler.

    The card in the model's folder comes first, then the pipeline's. A single file has no card.
    """
    folder = model.reference.path
    card = stated_in_card(folder) if isinstance(folder, Path) and folder.is_dir() else {}
    steps = card.get("num_inference_steps", default_steps(model.pipeline))
    guidance = card.get("guidance_scale", default_guidance(model.pipeline))
    return replace(sampling, steps=max(1, int(steps)), guidance=max(0.0, float(guidance)), scheduler="model", profile="fidelity")


def own_differences(base: LoadedModel, candidate: LoadedModel, sampling: Sampling) -> tuple[str, ...]:
    """Where the candidate's own settings differ from the base's, such as "4 steps instead of 50"."""
    ours, theirs = own_sampling(candidate, sampling), own_sampling(base, sampling)
    found = []
    if ours.steps != theirs.steps:
        found.append(f"{ours.steps} steps instead of {theirs.steps}")
    if ours.guidance != theirs.guidance:
        found.append(f"guidance {ours.guidance:g} instead of {theirs.guidance:g}")
    one, other = candidate.pipeline.scheduler, base.pipeline.scheduler
    if type(one) is not type(other):
        found.append(f"scheduler {type(one).__name__} instead of {type(other).__name__}")
    elif changed := sorted(key for key, value in _config(one).items() if _config(other).get(key) != value):
        key = changed[0]
        found.append(f"{type(one).__name__} with {key} {_config(one)[key]} instead of {_config(other).get(key)}")
    return tuple(found)


def _config(scheduler: Any) -> dict[str, Any]:
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
