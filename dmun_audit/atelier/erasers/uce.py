"""UCE: Gandikota et al. 2024, "Unified Concept Editing in Diffusion Models" (arXiv 2308.14761), equation 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dmun_audit.atelier.erasers.states import Weights, concept_states, keys_and_values


@torch.no_grad()
def unified_concept_editing(
    pipeline: Any, erase: Sequence[str], guide: str, preserve: Sequence[str], *, scale: float = 1.0, ridge: float = 0.5
) -> Weights:
    """UCE: edit every cross-attention key and value so that the texts in `erase` act like `guide`.

    W = (ridge W0 + s sum_E v* c^T + s sum_P W0 c c^T)(ridge I + s sum_E c c^T + s sum_P c c^T)^-1 with v* = W0 c_guide. The
    states c are those from the last token of a concept to the end of the padding. Each is matched with one state of the
    guide, as in the first release of the method; to edit the last token alone leaves the concept in the padding. Returns
    the edited tensors, float32, by name.
    """
    guided = concept_states(pipeline, [guide])[0]
    pairs = [(state[: len(guided)], guided[: len(state)]) for state in concept_states(pipeline, erase)]
    before, after = (torch.cat(states).double() for states in zip(*pairs, strict=True))
    kept = torch.cat(concept_states(pipeline, preserve)).double() if preserve else before[:0]
    identity = torch.eye(before.shape[1], dtype=torch.float64)
    inverse = torch.linalg.inv(ridge * identity + scale * (before.T @ before + kept.T @ kept))
    towards = (ridge * identity + scale * (after.T @ before + kept.T @ kept)) @ inverse
    return {name: (weight.double() @ towards).float().contiguous() for name, weight in keys_and_values(pipeline)}
