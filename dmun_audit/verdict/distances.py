"""Kernel distances between two sets of images: KID, CMMD, and a paired statistic with an exact test.

Embeddings are matrices (n, d) with one image in each row. Paired sets have the same prompt and seed in row i of both
matrices. All sums use float64, because the statistics are small differences of large numbers.

KID and CMMD differ in their kernel alone. On the unit vectors of a CLIP model both kernels are nearly linear, so both
distances are nearly multiples of the squared distance between the mean embeddings (3/d times and 10 times). They find the
same damage and are no independent evidence. Each has the scale of its literature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmun_audit.verdict.checks import check_count, finite_matrix

Kernel = Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
"""A function of two sets of embeddings (m, d) and (n, d) that returns the kernel values (m, n); positive definite."""

ROUNDING = 1e-12  # relative; above the error of a float64 kernel at d < 10,000, far below any visible difference
CMMD_BANDWIDTH = 10.0
CMMD_SCALE = 1000.0
DRAWS = 9_999
"""Sign flips of a test."""

_DRAWS_AT_ONCE = 512


@dataclass(frozen=True)
class SignFlipTest:
    """The result of a sign-flip test.

    Attributes:
        statistic: The paired MMD², on the scale of its kernel.
        p_value: Probability of a statistic at least as large if base and candidate are exchangeable within their pairs.
        draws: Number of random sign flips.
        pairs: Number of pairs.
    """

    statistic: float
    p_value: float
    draws: int
    pairs: int


def polynomial_kernel(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """KID's kernel (x·y/d + 1)³ of every row of `x` with every row of `y`.

    Source: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, §4.

    Args:
        x: Embeddings (m, d).
        y: Embeddings (n, d).

    Returns:
        The kernel values (m, n).

    Raises:
        ValueError: For different dimensions, or values that are not finite.

    Example:
        >>> polynomial_kernel([[1.0, 1.0]], [[1.0, 1.0]]).tolist()
        [[8.0]]
    """
    left, right = _same_width(x, y)
    return np.asarray((left @ right.T / left.shape[1] + 1.0) ** 3, dtype=np.float64)


def cmmd_kernel(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """CMMD's kernel 1000·exp(-|x - y|²/(2·10²)) of every row of `x` with every row of `y`.

    The factor 1000 is part of the kernel, so every statistic with this kernel has CMMD's scale. Embeddings must be unit
    vectors: the authors' code normalises them, although the paper does not say so.
    Source: Jayasumana et al., Rethinking FID, CVPR 2024, §4.

    Args:
        x: Embeddings (m, d), unit vectors.
        y: Embeddings (n, d), unit vectors.

    Returns:
        The kernel values (m, n).

    Raises:
        ValueError: For different dimensions, or values that are not finite.

    Example:
        >>> cmmd_kernel([[1.0, 0.0]], [[1.0, 0.0]]).tolist()
        [[1000.0]]
    """
    left, right = _same_width(x, y)
    from scipy.spatial.distance import cdist  # here, because its import is slow

    return np.asarray(CMMD_SCALE * np.exp(-cdist(left, right, "sqeuclidean") / (2.0 * CMMD_BANDWIDTH**2)), dtype=np.float64)


def mmd(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> float:
    """Unbiased MMD² between two *independent* sets (m, d) and (n, d), m, n ≥ 2. It can be negative.

    On same-seed pairs it is too small, because the two images of a pair are alike: use `paired_mmd` there.
    Source: Gretton et al., A kernel two-sample test, JMLR 2012, eq. 3.
    """
    within_x, within_y, across = kernel(x, x), kernel(y, y), kernel(x, y)
    if min(across.shape) < 2:
        raise ValueError(f"A distance needs at least two images on each side, not {across.shape[0]} and {across.shape[1]}.")
    return float(_off_diagonal_mean(within_x) + _off_diagonal_mean(within_y) - 2.0 * across.mean())


def kid(x: ArrayLike, y: ArrayLike) -> float:
    """Kernel inception distance of two independent sets of images: the unbiased MMD² with a cubic kernel.

    Source: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, §4. The embeddings of any one network will do; values
    compare within this network only.

    Args:
        x: Embeddings of the first set (m, d), m ≥ 2.
        y: Embeddings of the second set (n, d), n ≥ 2.

    Returns:
        The distance; it can be negative, and is 0 on average for two sets from one distribution.

    Raises:
        ValueError: For fewer than two images, different dimensions, or values that are not finite.

    Example:
        >>> round(kid([[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]), 3)
        2.25
    """
    return mmd(x, y, polynomial_kernel)


def cmmd(x: ArrayLike, y: ArrayLike) -> float:
    """CMMD of two independent sets of images: the unbiased MMD² of CLIP embeddings with a Gaussian kernel, times 1000.

    Source: Jayasumana et al., Rethinking FID, CVPR 2024, §4. Two differences from the published figures: the CLIP model is
    the caller's instead of ViT-L/14 at 336 pixels, so values compare within one CLIP model only; and this is the unbiased
    estimator of the paper. The authors' code also counts every image with itself. That adds about
    (1/m + 1/n)·1000·(1 - mean kernel): nothing at their 30,000 images, but more than most damage at 4 to 160 images.

    Args:
        x: Embeddings of the first set (m, d), unit vectors, m ≥ 2.
        y: Embeddings of the second set (n, d), unit vectors, n ≥ 2.

    Returns:
        The distance; it can be negative, and is 0 on average for two sets from one distribution.

    Raises:
        ValueError: For fewer than two images, different dimensions, or values that are not finite.

    Example:
        >>> round(cmmd([[0.0, 1.0], [0.6, 0.8]], [[1.0, 0.0], [0.8, 0.6]]), 2)
        5.17
    """
    return mmd(x, y, cmmd_kernel)


def paired_kernel_matrix(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> NDArray[np.float64]:
    """The matrix H_ij = k(x_i,x_j) + k(y_i,y_j) - k(x_i,y_j) - k(y_i,x_j) (n, n) of paired sets (n, d), n ≥ 2.

    The diagonal is 0. Entries within the rounding error become 0, so an unchanged pair has a row of zeros.
    """
    within_x, within_y, across = kernel(x, x), kernel(y, y), kernel(x, y)
    if across.shape[0] != across.shape[1] or across.shape[0] < 2:
        raise ValueError(f"Paired sets need two or more images each and as many here as there, not {across.shape}.")
    h = within_x + within_y - across - across.T
    # The lengths of the features bound every kernel value and every intermediate sum; values near 0 bound neither.
    length = np.sqrt(np.diag(within_x)) + np.sqrt(np.diag(within_y))
    h[np.abs(h) <= ROUNDING * np.outer(length, length)] = 0.0
    np.fill_diagonal(h, 0.0)
    return (h + h.T) / 2.0


def paired_mmd(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> float:
    """Unbiased MMD² of paired sets: the mean of H_ij over i ≠ j (see `paired_kernel_matrix`).

    Source: Gretton et al., A kernel two-sample test, JMLR 2012, Lemma 6, the U-statistic for m = n.

    Args:
        x: Embeddings of the base images (n, d), n ≥ 2.
        y: Embeddings of the candidate images (n, d); row i has the prompt and seed of row i of `x`.
        kernel: The kernel; KID's by default.

    Returns:
        The statistic; it is 0 on average if base and candidate are exchangeable within their pairs.

    Raises:
        ValueError: For sets of different sizes, fewer than two pairs, or values that are not finite.

    Example:
        >>> paired_mmd([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])
        0.0
    """
    return _off_diagonal_mean(paired_kernel_matrix(x, y, kernel))


def paired_sign_flip_test(
    x: ArrayLike, y: ArrayLike, draws: int = DRAWS, seed: int = 0, kernel: Kernel = polynomial_kernel
) -> SignFlipTest:
    """Test whether base and candidate are exchangeable within their pairs, by random sign flips.

    If they are, the two images of a pair may be swapped. A swap in pair i flips the signs of row and column i of the matrix
    H (see `paired_kernel_matrix`). So the statistic εᵀHε with random signs ε has the distribution of the observed one.

    Rule: p = (1 + draws with a statistic at least as large)/(1 + draws). Ties within rounding count as larger; H = 0 gives
    p = 1. With n pairs, p cannot be much below 2^(1-n).

    Guarantee: exact for any number of pairs; p ≤ alpha has a probability of at most alpha if the pairs are exchangeable. A
    rejection means "different" and not "harmed".
    Source of the statistic: Gretton et al., A kernel two-sample test, JMLR 2012, Lemma 6.

    Args:
        x: Embeddings of the base images (n, d), n ≥ 2.
        y: Embeddings of the candidate images (n, d); row i has the prompt and seed of row i of `x`.
        draws: Number of random sign flips.
        seed: Seed of the sign flips.
        kernel: The kernel; KID's by default.

    Returns:
        The statistic and its p-value.

    Raises:
        ValueError: For sets of different sizes, fewer than two pairs, values that are not finite, or no draws.

    Example:
        >>> unchanged = [[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]
        >>> paired_sign_flip_test(unchanged, unchanged, draws=99).p_value
        1.0
    """
    h = paired_kernel_matrix(x, y, kernel)
    pairs, draws = h.shape[0], check_count(draws, "draws")
    if draws == 0:
        raise ValueError("A sign-flip test needs at least one draw.")
    generator = np.random.default_rng(seed)
    goal = float(h.sum()) - ROUNDING * float(np.abs(h).sum())
    large = 0
    for first in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - first)
        signs = generator.integers(0, 2, (count, pairs)) * 2.0 - 1.0
        large += int((((signs @ h) * signs).sum(axis=1) >= goal).sum())
    return SignFlipTest(_off_diagonal_mean(h), (1 + large) / (1 + draws), draws, pairs)


def _same_width(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = finite_matrix(x, "x"), finite_matrix(y, "y")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"Embeddings of {left.shape[1]} and {right.shape[1]} dimensions cannot be compared.")
    return left, right


def _off_diagonal_mean(gram: NDArray[np.float64]) -> float:
    n = gram.shape[0]
    return float((gram.sum() - np.trace(gram)) / (n * (n - 1)))
