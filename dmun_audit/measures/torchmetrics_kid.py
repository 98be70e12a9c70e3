"""KID by torchmetrics: an independent implementation on the same embeddings, and the figure that papers report."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit._util import torchvision_compatibility


def torchmetrics_kid(x: ArrayLike, y: ArrayLike) -> float:
    """KID (Bińkowski et al., Demystifying MMD GANs, ICLR 2018, §4) between two sets of embeddings (n, d), n ≥ 2.

    It calls `KernelInceptionDistance` of torchmetrics with the identity as feature extractor. One subset holds all images:
    smaller subsets would be random, and the standard deviation over them is no standard error. So the value equals
    `verdict.distances.kid` up to rounding, with the same bias on same-seed pairs. It checks that function; it is no second
    finding. torch and torchmetrics are imported at the first call. Raises ValueError unless both sets have one shape (n, d).
    """
    torchvision_compatibility.make_importable()
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    left, right = (torch.from_numpy(np.array(side, dtype=np.float64)) for side in (x, y))
    if left.ndim != 2 or left.shape != right.shape or len(left) < 2:
        raise ValueError(f"Sets must have one shape (n, d) with n ≥ 2, not {tuple(left.shape)} and {tuple(right.shape)}.")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
        torch.manual_seed(0)  # torchmetrics shuffles the subset, and another order rounds differently
        metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=len(left))
        metric.update(left, real=True)
        metric.update(right, real=False)
        mean, _ = metric.compute()
    return float(mean)
