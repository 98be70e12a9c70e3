"""RECE: Gong et al. 2024, "Reliable and Efficient Concept Erasure of Text-to-Image Diffusion Models" (arXiv 2407.12383), §3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dmun_audit.atelier.erasers.states import Weights, concept_states, keys_and_values


@torch.no_grad()
def reliable_concept_erasure(
    pipeline: Any,
    erase: Sequence[str],
    guide: str,
    preserve: Sequence[str],
    *,
    rounds: int = 3,
    scale: float = 1.0,
    ridge: float = 0.5,
    penalty: float = 0.1,
) -> Weights:
    """RECE: edit as UCE does, then `rounds` times find the states that bring the concept back, and edit these too.

    A state c brings the concept back as c' = (penalty I + sum W^T W)^-1 (sum W^T W0) c. The sums are over all keys and
    values W, edited, and W0, before all edits. The penalty on |c'|^2 keeps c' and so the next edit small. Each edit changes
    the weights of the edit before. It repeats the states of all edits before: the ridge alone does not hold these. Returns the
    edited keys and values, float32, by name in the UNet.
    """
    guided = concept_states(pipeline, [guide])[0]
    pairs = [(state[: len(guided)], guided[: len(state)]) for state in concept_states(pipeline, erase)]
    before, after = (torch.cat(states).double() for states in zip(*pairs, strict=True))
    kept = torch.cat(concept_states(pipeline, preserve)).double() if preserve else before[:0]
    weights = {name: weight.double() for name, weight in keys_and_values(pipeline)}
    gram = torch.stack([weight.T @ weight for weight in weights.values()]).sum(dim=0)
    identity = torch.eye(before.shape[1], dtype=torch.float64)

    def edited(states: torch.Tensor, goals: torch.Tensor, edit: torch.Tensor) -> torch.Tensor:
        """The edit after `edit` that maps `states` to `goals`. Each is one matrix that is multiplied to every W0."""
        towards = ridge * edit + scale * (goals.T @ states + kept.T @ kept)
        return towards @ torch.linalg.inv(ridge * identity + scale * (states.T @ states + kept.T @ kept))

    states, goals = before, after
    edit = edited(states, goals, identity)
    for _ in range(rounds):
        derived = torch.linalg.solve(penalty * identity + edit.T @ gram @ edit, edit.T @ gram @ before.T).T
        states, goals = torch.cat([states, derived]), torch.cat([goals, after])
        edit = edited(states, goals, edit)
    return {name: (weight @ edit).float().contiguous() for name, weight in weights.items()}
