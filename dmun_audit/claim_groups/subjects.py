"""The subjects of prompts as a judge compares them: texts that mean the same are one subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmun_audit.claim_groups.context import CaseContext


def mean_texts(classes: Sequence[Sequence[str]], context: CaseContext) -> np.ndarray:
    """For each class of texts that mean the same, the normalised mean of their embeddings: unit vectors (k, d)."""
    embedded = context.observations.text_embeddings([text for texts in classes for text in texts])
    ends = np.cumsum([len(texts) for texts in classes])
    means = np.stack([part.mean(axis=0) for part in np.split(embedded, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))
