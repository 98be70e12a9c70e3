"""What is in memory: a pipeline's networks, a digest of all that decides its images, and numbers that are none."""

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


def modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    """The pipeline's networks by component name."""
    found = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return dict(sorted(found.items()))


def align(pipeline: Any) -> None:
    """Move the weights to where a CPU reads them all alike.

    Weights that stay in a mapped file begin wherever its header ends, and kernels sum unaligned numbers in another order: the
    same weights then gave another last bit from one process to the next.
    """
    for network in modules(pipeline).values():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.data_ptr() % ALIGNMENT:
                tensor.data = tensor.data.clone()


def require_finite(where: str, tensors: dict[str, torch.Tensor]) -> None:
    """Raise LoadError, naming the tensor, where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            kind = "NaN" if bool(torch.isnan(tensor).any()) else "infinite numbers"
            raise LoadError(
                f"{where}: tensor {name!r} holds {kind}",
                f"as loaded, in {str(tensor.dtype).removeprefix('torch.')}",
                "save the model again, or load it in a wider type",
            )


def weights_digest(pipeline: Any, adapter: str = "") -> str:
    """SHA-256 of everything in memory that decides an image besides prompt, seed and sampling.

    Covers each network's tensors (component, name, dtype, shape, bytes) and configuration, the tokenizers and the
    scheduler's configuration, and the digest of an `adapter`; not where they came from, nor the device.
    """
    tensors = [(part, name, value) for part, network in modules(pipeline).items() for name, value in network.state_dict().items()]
    with ThreadPoolExecutor(min(HASHING_THREADS, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(lambda entry: tensor_digest(entry[2]), tensors))
    entries = [
        [part, name, str(value.dtype), list(value.shape), found]
        for (part, name, value), found in zip(tensors, hashes, strict=True)
    ]
    settings = {name: settings_of(part) for name, part in sorted(pipeline.components.items())}
    return digest([sorted(entries), settings, pipeline_settings(pipeline), *([adapter] if adapter else [])])


def pipeline_settings(pipeline: Any) -> dict[str, str]:
    """The pipeline's class and its own settings, such as how SDXL treats an empty prompt."""
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
        if backend is not None:  # how much was padded and cut last is no setting
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
