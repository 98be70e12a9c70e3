"""How far apart two sets of images lie when nothing has changed but the seeds: the floor of an unpaired distance.

Base and candidate are drawn from the same seeds, and an unpaired distance over all of their images would be biased
downwards by the likeness of the pairs. So the seeds are split at random into halves A and B, many times: base on A
against candidate on B tells how far the models are apart, base on A against base on B what seeds alone can do. No image is
rendered for it.

Halves are balanced over prompts, or else differences between prompts would pass for noise. But images of one prompt are
alike, and a balanced half holds fewer pairs of one prompt than two halves across do, which makes an MMD² between halves too
small. By how much is seen in base against base, whose mean over splits should be 0: that mean is taken out of the floor, and
out of the distance together with the candidate's own.

**Which way the floor errs.** Halves are half as large as the sets, and the noise of an MMD² falls as 1/n: between two whole
sets of other seeds it would be about half of this floor. The distance is a mean over all splits, and so less noisy than the
one split that the floor speaks of. Both make the floor too high: a distance above it is no accident of seeds (under no
change it happens less often than the level says), while one below it may still be a real change that the paired sign-flip
test sees. Where a prompt has one image only, its halves cannot both hold it, and the floor holds differences between
prompts too: higher again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmun_audit.verdict.checks import check_count, check_inside
from dmun_audit.verdict.distances import Kernel, paired_kernel_matrix, polynomial_kernel

FLOOR_LEVEL = 0.95
SMALLEST_SET = 12  # below, balanced halves can be so few that their 95% quantile is none: simulated, up to 12% rose above it


@dataclass(frozen=True)
class OtherSeeds:
    """An unbiased MMD² between base and candidate over other seeds, and the floor under which seeds alone can explain it.

    Both are on the kernel's scale. `half` is how many images the smaller half of a split holds.
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
    """Compare paired sets (n, d), n ≥ 12, over `draws` random halves balanced over `prompts` (one of each row).

    `distance` is the MMD² between base on one half and candidate on the other, averaged over both ways round and over splits,
    less the shift that balancing causes. What is left of it is the mean of H_ij (see `paired_kernel_matrix`) over i in one
    half and j in the other; its expectation is the MMD² of the two models over these prompts. `floor` is `noise_floor`.
    Raises ValueError for sets that are too small, of different sizes, or not finite.
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
    """The `level` quantile over `draws` splits of the MMD² between two halves of base images (n, d), n ≥ 12, less its mean."""
    within, level = kernel(base, base), check_inside(level, 0.0, 1.0, "level")
    between = _between_halves(within, _halves(prompts, within.shape[0], draws, seed))
    return float(np.quantile(between - between.mean(), level, method="higher"))


def _halves(prompts: Sequence[Hashable], images: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Random halves (draws, images): 1 where an image is in the first one.

    Each prompt gives both halves equally many images; those left over go by turns to one and the other.
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
    """For every split, the unbiased MMD² between the two halves of one set with the kernel matrix `within`."""
    inside = _inside_means(within, halves) + _inside_means(within, 1.0 - halves)
    return np.asarray(inside - 2.0 * _across_means(within, halves), dtype=np.float64)


def _inside_means(within: NDArray[np.float64], chosen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean kernel value over pairs of different chosen images, one for each row of `chosen` (draws, n)."""
    apart = within - np.diag(np.diag(within))
    count = chosen.sum(axis=1)
    return np.asarray(((chosen @ apart) * chosen).sum(axis=1) / (count * (count - 1.0)), dtype=np.float64)


def _across_means(across: NDArray[np.float64], halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean kernel value of the first half's rows with the other half's columns, for each split."""
    first, second = halves.sum(axis=1), (1.0 - halves).sum(axis=1)
    return np.asarray(((halves @ across) * (1.0 - halves)).sum(axis=1) / (first * second), dtype=np.float64)
