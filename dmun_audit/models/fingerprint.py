"""A pipeline in memory: its networks, the digest of what decides its images, and the search for NaN and infinite numbers."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import torch

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest

HASHING_THREADS = 8
ALIGNMENT = 64  # bytes; torch's own allocations have it
PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


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


def align(pipeline: Any) -> None:
    """Copy weights that are not aligned or not contiguous in memory, so that every process computes the same last bits with them.

    Weights in a mapped file begin where its header ends. A CPU's kernels sum unaligned numbers, and those of another memory format,
    in another order.
    """
    for network in modules(pipeline).values():
        for tensor in [*network.parameters(), *network.buffers()]:
            plain = torch.empty(tensor.shape, device="meta").stride()  # is_contiguous ignores sides of length 1, kernels do not
            if tensor.data_ptr() % ALIGNMENT or tensor.stride() != plain:
                tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def require_finite(where: str, tensors: dict[str, torch.Tensor]) -> None:
    """Raise LoadError, naming the tensor, where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            problem = "NaN" if bool(torch.isnan(tensor).any()) else "infinite numbers"
            raise LoadError(
                f"{where}: tensor {name!r} holds {problem}",
                f"as loaded, in {str(tensor.dtype).removeprefix('torch.')}",
                "save the model again, or load it in a wider type",
            )


def weights_digest(pipeline: Any, adapter: str = "") -> str:
    """SHA-256 of everything in memory that decides an image besides prompt, seed and sampling: the second digest of `digests`."""
    return digests(pipeline, adapter)[1]


def digests(pipeline: Any, adapter: str = "") -> tuple[str, str]:
    """Two digests (SHA-256) of a pipeline. They do not depend on where the weights came from, nor on the device.

    The first covers the tensors of each network (component, name, dtype, shape, bytes) and `adapter`: the digest of an adapter or
    of code. The second also covers the configurations and the tokenizers. A configuration may hold keys without an effect, so
    seeds follow from the first one.
    """
    tensors = [(part, name, value) for part, network in modules(pipeline).items() for name, value in network.state_dict().items()]
    with ThreadPoolExecutor(min(HASHING_THREADS, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(lambda entry: tensor_digest(entry[2]), tensors))
    entries = [
        [part, name, str(value.dtype), list(value.shape), tensor_hash]
        for (part, name, value), tensor_hash in zip(tensors, hashes, strict=True)
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
