"""Whether a pipeline is what the libraries build from its configuration, so that configuration and weights decide its images.

A Python caller may have changed more than weights: attention processors, FreeU, tiling, hooks, methods. No digest of weights
shows that. Here every network is built a second time from its configuration, without numbers, and compared module by module.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
import transformers
from torch import nn

LIBRARIES = {"diffusers", "transformers"}
PLAIN = (bool, int, float, str, type(None), torch.dtype)
DEEPEST = 3  # levels of objects within objects that are compared
NO_SETTINGS = {*vars(nn.Module()), "_use_kernels", "_weight_conversions"}  # torch's own attributes, and traces of loading


def changes(pipeline: Any, dtype: torch.dtype) -> Iterator[str]:
    """A sentence for each part that computes something else than its configuration says. `dtype` is the type of the weights."""
    if not _of_a_library(pipeline):
        yield f"{type(pipeline).__name__} is no pipeline of diffusers"
    replaced = [name for name, value in vars(pipeline).items() if isinstance(value, FunctionType | MethodType)]
    if replaced:
        yield f"the pipeline has a replaced method {replaced[0]!r}"
    for name, part in sorted(pipeline.components.items()):
        if isinstance(part, nn.Module):
            difference = _first_difference(part, dtype)
            if difference:
                yield f"the {name} is not what its configuration builds ({difference})"
        elif part is not None and not _of_a_library(part):
            yield f"the {name} is a {type(part).__name__}, no class of diffusers or transformers"


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
        if one._forward_hooks or one._forward_pre_hooks:
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
    return {key: _described(value, depth) for key, value in vars(thing).items() if key not in NO_SETTINGS}


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
