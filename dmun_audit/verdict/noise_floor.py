"""The noise floor of an unpaired distance: how far apart two sets of images lie if only the seeds differ.

Base and candidate share their seeds, so an unpaired distance over all their images is too small: the two images of a pair
are alike. Therefore the seeds are split at random into halves A and B, many times. Base on A against candidate on B
measures the distance of the models; base on A against base on B measures the effect of the seeds alone. No image is
rendered for it.

The halves are balanced: every prompt gives both halves equally many images. Without this, differences between prompts
would count as noise. But images of one prompt are alike, and a balanced half holds fewer pairs of one prompt than there are
across two halves. So the MMD² between balanced halves is too small. The shift is known from base against base, where the
mean over all splits should be 0: this mean is subtracted from the floor. The distance is corrected in the same way, with
the base's and the candidate's own shift.

**The floor errs upwards.** A half has half as many images as the set, and the noise of an MMD² falls as 1/n: between two
whole sets with different seeds it would be about half of this floor. And the distance is a mean over all splits, so it has
less noise than the single split that the floor describes. A distance above the floor is therefore no effect of the seeds:
without a change it happens less often than the level says. A distance below the floor can still be a real change, which
the paired sign-flip test detects. A prompt with a single image cannot be in both halves; the floor then also holds
differences between prompts, and is higher again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmun_audit.verdict.checks import check_count, check_inside
from dmun_audit.verdict.distances import Kernel, paired_kernel_matrix, polynomial_kernel

FLOOR_LEVEL = 0.95
SMALLEST_SET = 12  # with fewer images there are too few balanced halves for a 95% quantile: in simulations up to 12% exceeded it


@dataclass(frozen=True)
class OtherSeeds:
    """The distance between base and candidate over different seeds, and its noise floor.

    Attributes:
        distance: Unbiased MMD² between base and candidate, on the scale of the kernel.
        floor: The noise floor, on the same scale: the seeds alone can explain a distance up to this.
        draws: Number of random splits.
        half: Number of images in the smaller half of a split.
    """

    distance: float
    floor: float
    draws: int
    half: int


def compare_other_seeds(
    base: ArrayLike,
    candidate: ArrayLike,
    prompts: Sequence[Hashable],
    kernel: Kernel = polynomial_kernel,
    draws: int = 1_000,
    seed: int = 0,
    level: float = FLOOR_LEVEL,
) -> OtherSeeds:
    """Distance between base and candidate with different seeds, and its noise floor, over random balanced halves.

    The distance is the mean of H_ij (see `paired_kernel_matrix`) with i in one half and j in the other, over all splits. It
    is the MMD² between base on one half and candidate on the other half, averaged over both directions, minus the shift
    that balancing causes. Its expectation is the MMD² of the two models over these prompts.

    Args:
        base: Embeddings of the base images (n, d), n ≥ 12.
        candidate: Embeddings of the candidate images (n, d), with the prompts and seeds of `base`.
        prompts: The prompt of each row (n,).
        kernel: The kernel; KID's by default.
        draws: Number of random splits.
        seed: Seed of the splits.
        level: Level of the floor, between 0 and 1.

    Returns:
        The distance and its floor.

    Raises:
        ValueError: For sets that are too small or of different sizes, or values that are not finite.

    Example:
        >>> base = [[float(i % 3), 1.0] for i in range(12)]
        >>> compare_other_seeds(base, base, ["a house", "a boat"] * 6, draws=100).distance
        0.0
    """
    h = paired_kernel_matrix(base, candidate, kernel)
    halves = _halves(prompts, h.shape[0], draws, seed)
    floor = noise_floor(base, prompts, kernel, draws, seed, level)
    return OtherSeeds(float(_across_means(h, halves).mean()), floor, len(halves), h.shape[0] // 2)


def noise_floor(
    base: ArrayLike,
    prompts: Sequence[Hashable],
    kernel: Kernel = polynomial_kernel,
    draws: int = 1_000,
    seed: int = 0,
    level: float = FLOOR_LEVEL,
) -> float:
    """The noise floor: the `level` quantile, over random splits, of the MMD² between two halves of base, minus its mean.

    Args:
        base: Embeddings of the base images (n, d), n ≥ 12.
        prompts: The prompt of each row (n,).
        kernel: The kernel; KID's by default.
        draws: Number of random splits.
        seed: Seed of the splits.
        level: The quantile, between 0 and 1.

    Returns:
        The floor, on the scale of the kernel.

    Raises:
        ValueError: For fewer than 12 images, a missing prompt, values that are not finite, or no draws.

    Example:
        >>> noise_floor([[1.0, 1.0]] * 12, ["a house", "a boat"] * 6, draws=100)
        0.0
    """
    within, level = kernel(base, base), check_inside(level, 0.0, 1.0, "level")
    between = _between_halves(within, _halves(prompts, within.shape[0], draws, seed))
    return float(np.quantile(between - between.mean(), level, method="higher"))


def _halves(prompts: Sequence[Hashable], images: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Random halves (draws, images): 1 for an image in the first half, 0 for an image in the second half.

    Each prompt gives both halves equally many images. The odd images of the prompts go to the two halves alternately.
    """
    if images < SMALLEST_SET:
        raise ValueError(f"Halves need at least {SMALLEST_SET} images together, not {images}.")
    if len(prompts) != images:
        raise ValueError(f"Every image must have its prompt, but there are {len(prompts)} prompts for {images} images.")
    if check_count(draws, "draws") == 0:
        raise ValueError("A noise floor needs at least one draw.")
    generator = np.random.default_rng(seed)
    names = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    row = np.array([names[prompt] for prompt in prompts])
    halves = np.zeros((draws, images))
    for half in halves:
        order = generator.permutation(images)
        order = order[np.argsort(generator.permutation(len(names))[row[order]], kind="stable")]  # prompt by prompt, shuffled
        half[order[generator.integers(2) :: 2]] = 1.0
    return halves


def _between_halves(within: NDArray[np.float64], halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unbiased MMD² (draws,) between the two halves of one set with the kernel matrix `within` (n, n), for every split."""
    inside = _inside_means(within, halves) + _inside_means(within, 1.0 - halves)
    return np.asarray(inside - 2.0 * _across_means(within, halves), dtype=np.float64)


def _inside_means(within: NDArray[np.float64], chosen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean kernel value (draws,) over pairs of different chosen images, for each row of `chosen` (draws, n)."""
    apart = within - np.diag(np.diag(within))
    count = chosen.sum(axis=1)
    return np.asarray(((chosen @ apart) * chosen).sum(axis=1) / (count * (count - 1.0)), dtype=np.float64)


def _across_means(across: NDArray[np.float64], halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean kernel value (draws,) of rows in the first half with columns in the second half, for each split."""
    first, second = halves.sum(axis=1), (1.0 - halves).sum(axis=1)
    return np.asarray(((halves @ across) * (1.0 - halves)).sum(axis=1) / (first * second), dtype=np.float64)
