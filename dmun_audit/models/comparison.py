"""Compares a whole pipeline with its base: networks tensor by tensor, then the settings."""

from __future__ import annotations

from typing import Any

from dmun_audit.models.fingerprint import modules
from dmun_audit.models.proof import Difference
from dmun_audit.models.settings import differing_settings


def compared(pipeline: Any, base: Any, name: str) -> tuple[Difference, list[str]]:
    """The difference of the weights, and a warning for each setting that differs. `name` is the candidate's, for messages.

    Raises LoadError where the denoisers are different networks, or where a tokenizer has words without embeddings.
    """
    difference = Difference()
    ours, theirs = modules(pipeline), modules(base)
    for component in sorted(ours.keys() | theirs.keys()):
        if component not in ours or component not in theirs:
            difference.replace(component, f"only the {'candidate' if component in ours else 'base'} has it")
            continue
        difference.compare(component, ours[component].state_dict(), theirs[component].state_dict(), name)
    return difference, differing_settings(pipeline, base)


def tensor_counts(pipeline: Any) -> dict[str, int]:
    """How many tensors each network has, by component."""
    return {name: len(network.state_dict()) for name, network in modules(pipeline).items()}
