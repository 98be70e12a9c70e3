"""Kernel distances between two sets of images: KID and CMMD as usual, and a paired statistic with an exact test.

Embeddings are matrices (n, d), one image a row; row i of both sets comes from the same prompt and seed where a
function says paired. All sums run in float64: the statistics are small differences of large numbers.

KID and CMMD differ in their kernel alone. On the unit vectors of a CLIP judge both kernels are nearly straight lines,
so that both are nearly multiples of the squared distance between the mean embeddings (3/d and 10 times it): where one
sees damage the other does, and the two together are not two witnesses. Each has the scale that its literature has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from dmun_audit.verdict.checks import check_count, finite_matrix

Kernel = Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
"""Takes (m, d) and (n, d), gives (m, n): positive definite, so that its mean embeddings have a distance."""

ROUNDING = 1e-12  # relative; the error of a float64 kernel at d < 10,000 stays under it, a visible difference far above
CMMD_BANDWIDTH = 10.0
CMMD_SCALE = 1000.0
_DRAWS_AT_ONCE = 512


@dataclass(frozen=True)
class SignFlipTest:
    """A paired MMD² and the probability of one at least as large if base and candidate were exchangeable in pairs."""

    statistic: float
    p_value: float
    draws: int
    pairs: int


def polynomial_kernel(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """KID's kernel (x·y/d + 1)³ for every row of `x` (m, d) with every row of `y` (n, d): a matrix (m, n).

    Source: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, §4.
    """
    left, right = _same_width(x, y)
    return np.asarray((left @ right.T / left.shape[1] + 1.0) ** 3, dtype=np.float64)


def cmmd_kernel(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """CMMD's kernel 1000·exp(-|x - y|²/(2·10²)) for every row of `x` (m, d) with every row of `y` (n, d): (m, n).

    The factor 1000 stands in the kernel, so that whatever is computed with it has CMMD's scale. It expects the unit
    vectors of the judge: the authors' code normalises its embeddings too, though the paper does not say so.
    Source: Jayasumana et al., Rethinking FID, CVPR 2024, §4.
    """
    left, right = _same_width(x, y)
    return np.asarray(CMMD_SCALE * np.exp(-cdist(left, right, "sqeuclidean") / (2.0 * CMMD_BANDWIDTH**2)), dtype=np.float64)


def mmd(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> float:
    """Unbiased MMD² between two *independent* sets (m, d) and (n, d), m, n ≥ 2. It can come out below 0.

    On same-seed pairs it is biased downwards, since it counts the pairs' likeness: use `paired_mmd` there.
    Source: Gretton et al., A kernel two-sample test, JMLR 2012, eq. 3.
    """
    within_x, within_y, across = kernel(x, x), kernel(y, y), kernel(x, y)
    if min(across.shape) < 2:
        raise ValueError(f"A distance needs at least two images on each side, not {across.shape[0]} and {across.shape[1]}.")
    return float(_off_diagonal_mean(within_x) + _off_diagonal_mean(within_y) - 2.0 * across.mean())


def kid(x: ArrayLike, y: ArrayLike) -> float:
    """`mmd` with the polynomial kernel, of independent sets (m, d) and (n, d). Source: Bińkowski et al. 2018, §4."""
    return mmd(x, y, polynomial_kernel)


def cmmd(x: ArrayLike, y: ArrayLike) -> float:
    """`mmd` with CMMD's kernel, of independent sets (m, d) and (n, d) of unit vectors.

    Two departures from the published figures. The judge's CLIP model takes the place of ViT-L/14 at 336 pixels, so values
    compare within one judge only. And this is the unbiased estimator, which the paper states, where its authors' code
    counts every image with itself as well: that adds about (1/m + 1/n) times 1000(1 - mean kernel), nothing at their
    30,000 images but more than most damage at an audit's 4 to 160.
    """
    return mmd(x, y, cmmd_kernel)


def paired_kernel_matrix(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> NDArray[np.float64]:
    """H_ij = k(x_i,x_j) + k(y_i,y_j) - k(x_i,y_j) - k(y_i,x_j) of paired sets (n, d), n ≥ 2: (n, n), zero diagonal.

    Entries that rounding alone can cause become 0, so that an unchanged pair has a row of zeros.
    """
    within_x, within_y, across = kernel(x, x), kernel(y, y), kernel(x, y)
    if across.shape[0] != across.shape[1] or across.shape[0] < 2:
        raise ValueError(f"Paired sets need two or more images each and as many here as there, not {across.shape}.")
    h = within_x + within_y - across - across.T
    # Feature lengths bound every kernel value and every intermediate sum, where values near 0 would not.
    length = np.sqrt(np.diag(within_x)) + np.sqrt(np.diag(within_y))
    h[np.abs(h) <= ROUNDING * np.outer(length, length)] = 0.0
    np.fill_diagonal(h, 0.0)
    return (h + h.T) / 2.0


def paired_mmd(x: ArrayLike, y: ArrayLike, kernel: Kernel = polynomial_kernel) -> float:
    """Unbiased MMD² of paired sets (n, d): the mean of H_ij over i ≠ j, 0 on average when the pairs are exchangeable.

    Source: Gretton et al. 2012, Lemma 6, the U-statistic for m = n.
    """
    return _off_diagonal_mean(paired_kernel_matrix(x, y, kernel))


def paired_sign_flip_test(
    x: ArrayLike, y: ArrayLike, draws: int = 9_999, seed: int = 0, kernel: Kernel = polynomial_kernel
) -> SignFlipTest:
    """Test whether base (n, d) and candidate (n, d) are exchangeable within their pairs.

    Swapping the two images of pair i flips the signs of row and column i of H, so the null distribution is εᵀHε with
    fair signs ε. p = (1 + draws at least as large as observed)/(1 + draws); ties within rounding count as large, and
    H = 0 gives 1. With n pairs no p under about 2^(1-n) can occur. Rejection means different, not harmed.
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
