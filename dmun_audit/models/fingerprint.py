"""A pipeline in memory: its networks, the digest of what decides its images, and the search for NaN and infinite numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import torch

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest

HASHING_THREADS = 8
PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)

TensorName = tuple[str, str]  # component, name
MemoryPlace = tuple[str, int, str, tuple[int, ...], tuple[int, ...]]  # device, address, dtype, shape, stride
Hashed = Mapping[MemoryPlace, str]
"""SHA-256 of tensors by where they lie in memory."""


def modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    """The pipeline's networks by component name."""
    return {name: part for name, part in sorted(pipeline.components.items()) if isinstance(part, torch.nn.Module)}


def main_dtype(pipeline: Any) -> torch.dtype:
    """The type of most floating-point numbers of the pipeline."""
    numbers: dict[torch.dtype, int] = {}
    for network in modules(pipeline).values():
        for parameter in network.parameters():
            if parameter.is_floating_point():
                numbers[parameter.dtype] = numbers.get(parameter.dtype, 0) + parameter.numel()
    return max(numbers, key=lambda dtype: numbers[dtype], default=torch.float32)


def odd_tensors(pipeline: Any) -> list[str]:
    """A sentence for each network with weights of a class of their own, such as quantised ones: their bytes may not be all of them."""
    sentences = []
    for name, network in modules(pipeline).items():
        kinds = sorted(
            {type(each).__name__ for each in (*network.parameters(), *network.buffers()) if type(each) not in PLAIN_TENSORS}
        )
        if kinds:
            sentences.append(f"the {name} has weights that are {', '.join(kinds)}")
    return sentences


def require_finite(where: str, tensors: dict[str, torch.Tensor]) -> None:
    """Raise LoadError, naming the tensor, where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() and not _is_finite(tensor):
            problem = "NaN" if bool(torch.isnan(tensor).any()) else "infinite numbers"
            raise LoadError(
                f"{where}: tensor {name!r} holds {problem}",
                f"as loaded, in {str(tensor.dtype).removeprefix('torch.')}",
                "save the model again, or load it in a wider type",
            )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether no number is NaN or infinite: least and greatest say so, fifteen times as fast as a look at each number."""
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def weights_digest(pipeline: Any, adapter: str = "") -> str:
    """SHA-256 of everything in memory that decides an image besides prompt, seed and sampling: the second digest of `digests`."""
    return digests(pipeline, adapter)[1]


def hash_tensors(pipeline: Any, known: Hashed | None = None) -> dict[TensorName, str]:
    """SHA-256 of each tensor of the pipeline's networks. A tensor in `known` is not hashed again."""
    tensors = _tensors(pipeline)
    kept = known or {}

    def of(tensor: torch.Tensor) -> str:
        return kept.get(memory_place(tensor)) or tensor_digest(tensor)

    with ThreadPoolExecutor(min(HASHING_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(tensors, pool.map(of, tensors.values()), strict=True))


def by_memory(pipeline: Any, hashes: Mapping[TensorName, str]) -> Hashed:
    """`hashes` by where the tensors lie in memory. They hold as long as the pipeline exists and nobody changes its weights."""
    return {
        memory_place(tensor): hashes[name] for name, tensor in _tensors(pipeline).items() if name in hashes and tensor.numel()
    }


def _tensors(pipeline: Any) -> dict[TensorName, torch.Tensor]:
    return {(part, name): value for part, network in modules(pipeline).items() for name, value in network.state_dict().items()}


def memory_place(tensor: torch.Tensor) -> MemoryPlace:
    """Where a tensor lies in memory: tensors of one place hold the same numbers, as long as one of them exists."""
    return str(tensor.device), tensor.data_ptr(), str(tensor.dtype), tuple(tensor.shape), tensor.stride()


def digests(pipeline: Any, adapter: str = "", hashes: Mapping[TensorName, str] | None = None) -> tuple[str, str]:
    """Two digests (SHA-256) of a pipeline. They do not depend on where the weights came from, nor on the device.

    The first covers the tensors of each network (component, name, dtype, shape, bytes) and `adapter`: the digest of an adapter or
    of code. The second also covers the configurations and the tokenizers. A configuration may hold keys without an effect, so
    seeds follow from the first one. `hashes` are those of `hash_tensors`, if they are known.
    """
    hashes = hash_tensors(pipeline) if hashes is None else hashes
    entries = [
        [part, name, str(value.dtype), list(value.shape), hashes[part, name]]
        for (part, name), value in _tensors(pipeline).items()
    ]
    settings = {name: settings_of(part) for name, part in sorted(pipeline.components.items())}
    both = [pipeline_settings(pipeline), *([adapter] if adapter else [])]
    return digest(["tensors", sorted(entries), adapter]), digest([sorted(entries), settings, *both])


def pipeline_settings(pipeline: Any) -> dict[str, str]:
    """The class of the pipeline, and its own settings: for instance, how SDXL treats an empty prompt."""
    config = dict(getattr(pipeline, "config", None) or {})
    own = {
        key: repr(value)
        for key, value in config.items()
        if not key.startswith("_") and isinstance(value, bool | int | float | str)
    }
    return {"class": type(pipeline).__name__, **own}


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def settings_of(part: Any) -> Any:
    """A component's configuration or vocabulary as plain values, without paths and library versions."""
    if hasattr(part, "get_vocab"):
        backend = getattr(part, "backend_tokenizer", None)
        words = json.loads(backend.to_str()) if backend is not None else part.get_vocab()
        if backend is not None:  # these two are what the last call used, and no setting
            words |= {"truncation": None, "padding": None}
        special = {name: str(token) for name, token in sorted(part.special_tokens_map.items())}
        return [digest(words), part.model_max_length, special, getattr(part, "padding_side", "")]
    config = getattr(part, "config", None)
    values = config.to_dict() if config is not None and hasattr(config, "to_dict") else dict(config or {})
    kept = {
        key: value
        for key, value in values.items()
        if not key.startswith("_") and key not in {"transformers_version", "dtype", "torch_dtype"}
    }
    return json.loads(json.dumps(kept, default=str), parse_constant=str)  # schedulers have infinite settings
