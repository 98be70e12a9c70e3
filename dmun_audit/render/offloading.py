"""Draws with networks that lie in main memory and visit the GPU while they compute, for cards that hold no whole model.

"model" moves one network at a time (diffusers' `enable_model_cpu_offload`), "sequential" one layer at a time
(`enable_sequential_cpu_offload`). Models are loaded, hashed and probed on the CPU then, and a copy is offloaded: candidates are laid
over the base's own pipeline, and hooks would follow them.

A network that comes back from the GPU has memory of its own. So after each call every weight is put back to where it lay before: base
and candidate go on sharing what they shared, and nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.models.fingerprint import modules
from dmun_audit.render.devices import Offload


def offload(pipeline: Any, mode: Offload, device: str) -> Callable[[], None]:
    """Offload a pipeline that lies on the CPU. Returns what puts its weights back after a call.

    Raises UsageError where the pipeline cannot be offloaded.
    """
    try:
        return _offload(pipeline, mode, device)
    except (ValueError, NotImplementedError) as error:  # as diffusers says it
        raise UsageError(
            f"{type(pipeline).__name__} cannot be offloaded by --offload={mode}",
            str(error),
            "leave --offload out" if mode == "sequential" else "take --offload=sequential",
        ) from error


def _offload(pipeline: Any, mode: Offload, device: str) -> Callable[[], None]:
    if mode == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)  # its hooks keep the weights where they are, and load copies
        return lambda: None
    layers = [layer for network in modules(pipeline).values() for layer in network.modules()]
    parameters = [(tensor, tensor.data) for layer in layers for tensor in layer.parameters(recurse=False)]
    buffers = [(layer, name, tensor) for layer in layers for name, tensor in layer.named_buffers(recurse=False)]

    def put_back() -> None:
        for parameter, numbers in parameters:
            parameter.data = numbers
        for layer, name, tensor in buffers:
            layer._buffers[name] = tensor

    pipeline.enable_model_cpu_offload(device=device)
    return put_back
