"""Whether a pipeline is what the libraries build from its configuration, so that configuration and weights decide its images.

A Python caller may have changed more than weights: attention processors, FreeU, tiling, hooks, methods. No digest of weights
shows that. Here every network is built a second time from its configuration, without numbers, and compared module by module.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from dmun_audit.models.library_code import replaced_code

LIBRARIES = {"diffusers", "transformers"}
NOISE = ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod", "sigma_min", "sigma_max")  # drawing leaves these as they are
PLAIN = (bool, int, float, str, type(None), torch.dtype)
DEEPEST = 3  # levels of objects within objects that are compared
# torch's own attributes, and traces of loading and of drawing
NO_SETTINGS = {*vars(nn.Module()), "_use_kernels", "_weight_conversions", "_output_capturing_hooks_installed"}
READING_ALONG = "transformers.utils.output_capturing"  # its hooks note hidden states, and stay once they were asked for


def changes(pipeline: Any, dtype: torch.dtype, own: str = "") -> Iterator[str]:
    """A sentence for each part that computes something else than its configuration says. `dtype` is the type of the weights.

    `own` is the name of the user's own package (`library_code.replaced_code`).
    """
    if not _of_a_library(pipeline):
        yield f"{type(pipeline).__name__} is no pipeline of diffusers"
    if replaced := _replaced_method(pipeline):
        yield f"the pipeline has a replaced method {replaced!r}"
    for name, part in sorted(pipeline.components.items()):
        if isinstance(part, nn.Module):
            difference = _first_difference(part, dtype)
            if difference:
                yield f"the {name} is not what its configuration builds ({difference})"
        elif part is not None:
            yield from (f"the {name} {difference}" for difference in _differences_of_a_part(part))
    components = pipeline.components
    for name, thing in sorted(vars(pipeline).items()):
        if name not in components and hasattr(thing, "__dict__") and not isinstance(thing, type | FunctionType | MethodType):
            yield from (f"the {name} {difference}" for difference in _differences_of_a_part(thing))
    yield from replaced_code(_classes(pipeline), own)


def _differences_of_a_part(part: Any) -> Iterator[str]:
    """What a scheduler, a tokenizer or a processor of images does otherwise than its class and configuration say."""
    from diffusers import SchedulerMixin

    if not _of_a_library(part):
        yield f"is a {type(part).__name__}, no class of diffusers or transformers"
    if replaced := _replaced_method(part):
        yield f"has a replaced method {replaced!r}"
    if isinstance(part, SchedulerMixin):
        standard = vars(type(part).from_config(part.config))
        odd = [name for name in NOISE if name in vars(part) and not _equal(vars(part)[name], standard.get(name))]
        yield from (f"has other numbers in {name!r} than its configuration gives" for name in odd)


def _replaced_method(thing: Any) -> str:
    attributes = getattr(thing, "__dict__", {})
    return next((name for name, value in attributes.items() if isinstance(value, FunctionType | MethodType)), "")


def _equal(one: Any, other: Any) -> bool:
    if torch.is_tensor(one) and torch.is_tensor(other):
        return torch.equal(one.cpu(), other.cpu())
    return type(one) is type(other) and np.array_equal(one, other)


def _classes(pipeline: Any) -> set[type]:
    """The classes whose methods make the images: of the pipeline, its parts, their modules, and what these hold."""
    parts = [pipeline, *pipeline.components.values(), *vars(pipeline).values()]
    networks = [part for part in parts if isinstance(part, nn.Module)]
    layers = [module for network in networks for module in network.modules()]
    return {type(thing) for thing in (*parts, *layers, *(value for layer in layers for value in vars(layer).values()))}


def _of_a_library(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] in LIBRARIES


def _first_difference(network: nn.Module, dtype: torch.dtype) -> str:
    """Where the network differs from a new one of its configuration; empty where it does not."""
    if not _of_a_library(network):
        return f"it is a {type(network).__name__}, no class of diffusers or transformers"
    try:
        standard = _build(network, dtype)
    except Exception as error:  # any class may need more than its configuration
        return f"it cannot be built again: {type(error).__name__}"
    return next(_differences(network, standard), "")


def _build(network: Any, dtype: torch.dtype) -> nn.Module:
    """A new network of the same configuration: parameters without numbers, buffers with theirs."""
    from accelerate import init_empty_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with init_empty_weights():
            if isinstance(network, transformers.PreTrainedModel):
                built = type(network)(type(network.config).from_dict(network.config.to_dict()))
            else:
                built = type(network).from_config(dict(network.config))
    finally:
        torch.set_default_dtype(before)
    assert isinstance(built, nn.Module)
    return built


def _differences(network: nn.Module, standard: nn.Module) -> Iterator[str]:
    ours, theirs = dict(network.named_modules()), dict(standard.named_modules())
    yield from (f"module {name!r} is only in one of them" for name in sorted(ours.keys() ^ theirs.keys()))
    for name in ours.keys() & theirs.keys():
        one, other = ours[name], theirs[name]
        if type(one) is not type(other):
            yield f"module {name!r} is a {type(one).__name__} and not a {type(other).__name__}"
        if one._forward_pre_hooks or any(
            getattr(hook, "__module__", "") != READING_ALONG for hook in one._forward_hooks.values()
        ):
            yield f"module {name!r} has hooks"
        mine, expected = _attributes(one, DEEPEST), _attributes(other, DEEPEST)
        odd = sorted(key for key in mine.keys() | expected.keys() if mine.get(key, standard) != expected.get(key, standard))
        yield from (f"attribute {key!r} of module {name!r}" for key in odd)
    stored = network.state_dict().keys()
    buffers = dict(standard.named_buffers())
    for name, buffer in network.named_buffers():
        if name not in stored and not (name in buffers and _same(buffer, buffers[name])):
            yield f"buffer {name!r}"


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())


def _attributes(thing: Any, depth: int) -> dict[str, Any]:
    """The attributes of an object by which its computation may differ."""
    attributes = dict(vars(thing))
    if not getattr(attributes.get("_diffusers_hook"), "hooks", True):  # an empty registry, which drawing leaves
        del attributes["_diffusers_hook"]
    return {key: _described(value, depth) for key, value in attributes.items() if key not in NO_SETTINGS}


def _described(value: Any, depth: int) -> Any:
    """A value that is equal for equal settings, whatever object holds them."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, tuple | list):
        return [_described(item, depth) for item in value]
    if isinstance(value, dict):
        return {str(key): _described(item, depth) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), list(value.shape)]
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if depth == 0 or isinstance(value, nn.Module) or not hasattr(value, "__dict__"):
        return kind
    return [kind, _attributes(value, depth - 1)]
