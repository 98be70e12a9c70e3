"""KID as torchmetrics computes it: another hand's code on the same embeddings, reported beside ours."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit._util import torchvision_compatibility


def torchmetrics_kid(x: ArrayLike, y: ArrayLike) -> float:
    """KID between two sets of embeddings (n, d), n ≥ 2, by torchmetrics' `KernelInceptionDistance`.

    Its feature extractor is the identity, and one subset holds all images: with the usual smaller subsets it would draw
    some at random, and their standard deviation, which it returns too, is no standard error. So it says what
    `verdict.distances.kid` says up to rounding, likewise biased on same-seed pairs; it is a check of ours, not a second
    finding. Raises ValueError for sets of different or too small sizes.
    """
    torchvision_compatibility.make_importable()
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    left, right = (torch.from_numpy(np.array(side, dtype=np.float64)) for side in (x, y))
    if left.ndim != 2 or left.shape != right.shape or len(left) < 2:
        raise ValueError(f"Sets must have one shape (n, d) with n ≥ 2, not {tuple(left.shape)} and {tuple(right.shape)}.")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
        torch.manual_seed(0)  # it shuffles the subset: another order rounds otherwise
        metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=len(left))
        metric.update(left, real=True)
        metric.update(right, real=False)
        mean, _ = metric.compute()
    return float(mean)
