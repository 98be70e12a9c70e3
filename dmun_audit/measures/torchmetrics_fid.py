"""FID by torchmetrics: an independent implementation on the same embeddings."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit._util import torchvision_compatibility


def torchmetrics_fid(x: ArrayLike, y: ArrayLike) -> float:
    """FID (Heusel et al., NIPS 2017) between two sets of embeddings (n, d), n ≥ 2, by torchmetrics.

    It calls `FrechetInceptionDistance` with the identity as feature extractor, and equals `measures.frechet.frechet_distance` up
    to rounding. torch and torchmetrics are imported at the first call. Raises ValueError unless both sets have the shape (n, d).
    """
    torchvision_compatibility.make_importable()
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    left, right = (torch.from_numpy(np.array(side, dtype=np.float64)) for side in (x, y))
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1] or min(len(left), len(right)) < 2:
        raise ValueError(f"Sets must have the shape (n, d) with n ≥ 2, not {tuple(left.shape)} and {tuple(right.shape)}.")
    identity = torch.nn.Identity()
    setattr(identity, "num_features", left.shape[1])  # noqa: B010 - torch types no such attribute
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = FrechetInceptionDistance(feature=identity).set_dtype(torch.float64)
        metric.update(left, real=True)
        metric.update(right, real=False)
        return float(metric.compute())
