"""The schedulers that a policy may name instead of a model's own."""

from __future__ import annotations

from typing import Any, Literal

from dmun_audit._util.errors import UsageError

CLASSES = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "lms": "LMSDiscreteScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler",
}
DISTILLED = frozenset({"LCMScheduler", "TCDScheduler"})
# Settings that latent diffusion needs, with other defaults in some classes: latents are not confined to [-1, 1], and Stable
# Diffusion's PNDM takes no Runge-Kutta steps. A model's configuration does not state them if its own scheduler has none of them.
FOR_LATENTS = {"clip_sample": False, "skip_prk_steps": True}


def replacement(own: Any, name: str) -> Any:
    """The scheduler called `name`, with betas and prediction type of the model's `own` scheduler; `own` itself for "model".

    Raises UsageError where one is for flow matching and the other for diffusion.
    """
    if name == "model" or type(own).__name__ == CLASSES[name]:
        return own
    if _kind(own) != ("flow matching" if name.startswith("flow-") else "diffusion"):
        raise UsageError(
            f"sampling.scheduler = {name!r} does not suit this model",
            f"its own scheduler, {type(own).__name__}, is for {_kind(own)}",
            f"leave the key out, or take one of {', '.join(_suitable(own)) or 'none of the others'}",
        )
    import diffusers

    by_default = set(own.config.get("_use_default_values", ()))
    stated = {key: value for key, value in own.config.items() if key not in by_default}
    return getattr(diffusers, CLASSES[name]).from_config({**FOR_LATENTS, **stated})


def quick_solver(own: Any) -> Literal["dpmsolver++", "flow-euler", "model"]:
    """The name of the solver that needs few steps, for a model with this scheduler of its `own`; "model" where none is better.

    DPM-Solver++ is for models that predict noise or velocity. The scheduler of a distilled model belongs to its few steps.
    """
    name, kind = type(own).__name__, _kind(own)
    if kind == "flow matching":
        return "flow-euler"
    predicts = own.config.get("prediction_type", "epsilon") in {"epsilon", "v_prediction"}
    return "dpmsolver++" if kind == "diffusion" and predicts and name not in DISTILLED else "model"


def _kind(scheduler: Any) -> str:
    """The kind of model that a scheduler is for. Some solvers for diffusion can also predict a flow."""
    if type(scheduler).__name__.startswith("FlowMatch"):
        return "flow matching"
    return "flow prediction" if scheduler.config.get("prediction_type") == "flow_prediction" else "diffusion"


def _suitable(own: Any) -> list[str]:
    flows = {"flow matching": [True], "diffusion": [False]}.get(_kind(own), [])
    return [name for name in CLASSES if name.startswith("flow-") in flows]
