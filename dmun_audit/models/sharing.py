"""Lets a complete candidate use the memory of its base's weights, tensor by tensor, wherever both hold the same bytes."""

from __future__ import annotations

from typing import Any

from dmun_audit.models.fingerprint import PLAIN_TENSORS, Hashed, by_memory, hash_tensors, memory_place, modules
from dmun_audit.models.loaded import LoadedModel


def share_weights(pipeline: Any, base: LoadedModel) -> Hashed:
    """Put the base's tensor in the place of each equal tensor of `pipeline`: same name, type, shape, layout and bytes.

    Afterwards a weight may be replaced, and must not be written into. The shared tensors lie on the base's device, all others where
    they were. Returns the SHA-256 of the pipeline's tensors by where they lie in memory.
    """
    hashes = hash_tensors(pipeline)
    networks = modules(base.pipeline)
    for component, network in modules(pipeline).items():
        base_tensors = networks[component].state_dict() if component in networks else {}
        for name, tensor in network.state_dict(keep_vars=True).items():
            base_tensor = base_tensors.get(name)
            if (
                base_tensor is None
                or type(tensor) not in PLAIN_TENSORS
                or memory_place(tensor)[2:] != memory_place(base_tensor)[2:]
            ):
                continue
            if base.hashed.get(memory_place(base_tensor)) == hashes[component, name]:
                tensor.data = base_tensor
    return by_memory(pipeline, hashes)
