"""The Fréchet distance between two sets of embeddings (FID)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit.verdict.checks import finite_matrix


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """|μ_x - μ_y|² + tr(Σ_x + Σ_y - 2(Σ_xΣ_y)^½) of two sets of embeddings (m, d) and (n, d), m, n ≥ 2.

    The Fréchet distance of two normal distributions with the means and covariances of the sets. Source: Heusel et al., GANs
    trained by a two time-scale update rule, NIPS 2017, eq. 6. The trace of the root is the nuclear norm of the product of the
    centred sets, which stays exact where a set has fewer images than dimensions. The value depends on the number of images: few
    images give a larger one. Raises ValueError for fewer than two images, different dimensions, or values that are not finite.
    """
    left, right = finite_matrix(x, "x"), finite_matrix(y, "y")
    if left.shape[1] != right.shape[1] or min(len(left), len(right)) < 2:
        raise ValueError(f"Sets must have the shapes (m, d) and (n, d) with m, n ≥ 2, not {left.shape} and {right.shape}.")
    a, b = ((side - side.mean(axis=0)) / np.sqrt(len(side) - 1) for side in (left, right))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    means = ((left.mean(axis=0) - right.mean(axis=0)) ** 2).sum()
    return max(0.0, float(means + (a**2).sum() + (b**2).sum() - 2.0 * root))
