"""Exact one-sided bounds on a rate, and the sample sizes that follow from them.

A bound is exact if its error rate is never above the stated one, for any true rate and any number of images: it uses the
binomial distribution itself and no approximation. Source: Clopper and Pearson, Biometrika 1934.

All bounds are for a number of images that was fixed in advance. To draw more images until a bound passes breaks the
guarantee; `sequential` has the rule for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from dmun_audit.verdict.checks import check_count, check_hits, check_inside

MOST_IMAGES = 20_000  # a larger number of images is no usable plan


def upper_bound(hits: int, trials: int, alpha: float = 0.05) -> float:
    """Exact one-sided upper bound on a rate, from `hits` in `trials`.

    It is the largest rate at which `hits` or fewer hits have a probability of `alpha`. The true rate lies above the bound
    with a probability of at most `alpha`. Source: Clopper and Pearson, Biometrika 1934.

    Args:
        hits: Number of hits.
        trials: Number of independent trials, fixed in advance.
        alpha: Error rate, between 0 and 1.

    Returns:
        The bound, between 0 and 1; 1 without trials.

    Raises:
        ValueError: For counts or an error rate that cannot be.

    Example:
        >>> round(upper_bound(0, 62), 4)
        0.0472
    """
    hits, trials = check_hits(hits, trials)
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    return 1.0 if hits == trials else float(special.betainccinv(hits + 1, trials - hits, alpha))


def lower_bound(hits: int, trials: int, alpha: float = 0.05) -> float:
    """Exact one-sided lower bound on a rate, from `hits` in `trials`; the mirror of `upper_bound`.

    Args:
        hits: Number of hits.
        trials: Number of independent trials, fixed in advance.
        alpha: Error rate, between 0 and 1.

    Returns:
        The bound, between 0 and 1; 0 without trials.

    Raises:
        ValueError: For counts or an error rate that cannot be.

    Example:
        >>> round(lower_bound(46, 48), 3)
        0.875
    """
    hits, trials = check_hits(hits, trials)
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    return 0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, alpha))


def at_most_probability(hits: int, trials: int, rate: float) -> float:
    """P(X ≤ hits) for X ~ Binomial(trials, rate): the exact p-value against "the rate is at least `rate`"."""
    hits, trials = check_hits(hits, trials)
    rate = check_inside(rate, 0.0, 1.0, "rate")
    return 1.0 if hits == trials else float(special.betaincc(hits + 1, trials - hits, rate))


def at_least_probability(hits: int, trials: int, rate: float) -> float:
    """P(X ≥ hits) for X ~ Binomial(trials, rate): the exact p-value against "the rate is at most `rate`"."""
    hits, trials = check_hits(hits, trials)
    rate = check_inside(rate, 0.0, 1.0, "rate")
    return 1.0 if hits == 0 else float(special.betainc(hits, trials - hits + 1, rate))


def allowed_hits(trials: int, ceiling: float, alpha: float = 0.05) -> int:
    """The largest number of hits with which `rate_at_most` passes.

    Args:
        trials: Number of trials.
        ceiling: The limit of the claim, between 0 and 1.
        alpha: Error rate of a PASS.

    Returns:
        The number of hits; -1 if not even 0 hits prove the claim.

    Raises:
        ValueError: For numbers that cannot be.

    Example:
        >>> allowed_hits(192, ceiling=0.05), allowed_hits(58, ceiling=0.05)
        (4, -1)
    """
    trials, ceiling = check_count(trials, "trials"), check_inside(ceiling, 0.0, 1.0, "ceiling")
    return smallest(lambda hits: upper_bound(hits, trials, alpha) > ceiling, 0, trials) - 1


def sample_size(
    ceiling: float, judged_rate: float, alpha: float = 0.05, power: float = 0.95, most: int = MOST_IMAGES
) -> int | None:
    """The smallest number of images with which `rate_at_most` passes with probability `power`.

    The power does not always rise with the number of images: a few images more can have less power.

    Args:
        ceiling: The limit of the claim, between 0 and 1.
        judged_rate: The rate of hits to plan for, from 0 to 1.
        alpha: Error rate of a PASS.
        power: Wanted probability of a PASS at `judged_rate`.
        most: Largest number of images.

    Returns:
        The number of images; None if `judged_rate` is not under the ceiling, or if `most` images are too few.

    Raises:
        ValueError: For numbers that cannot be.

    Example:
        >>> sample_size(ceiling=0.05, judged_rate=0.01)
        181
    """
    ceiling, alpha = check_inside(ceiling, 0.0, 1.0, "ceiling"), check_inside(alpha, 0.0, 1.0, "alpha")
    power = check_inside(power, 0.0, 1.0, "power")
    if not 0.0 <= judged_rate <= 1.0:
        raise ValueError(f"judged_rate must lie between 0 and 1, but is {judged_rate!r}.")
    if judged_rate >= ceiling:
        return None
    # Of all trials that allow the same number of hits, the fewest have the most power.
    for first in range(0, most, 256):
        hits = np.arange(first, min(first + 256, most), dtype=np.float64)
        low, high = hits, np.full_like(hits, float(most))
        while (searching := high - low > 1.0).any():
            middle = np.where(searching, np.floor((low + high) / 2.0), high)
            proves = special.betaincc(hits + 1.0, middle - hits, ceiling) <= alpha
            low, high = np.where(searching & ~proves, middle, low), np.where(searching & proves, middle, high)
        proves = special.betaincc(hits + 1.0, high - hits, ceiling) <= alpha
        powerful = special.betaincc(hits + 1.0, high - hits, judged_rate) >= power
        if (proves & powerful).any():
            return int(high[int(np.argmax(proves & powerful))])
        if not proves.all():
            return None
    return None


def quantile(probability: float, trials: int, rate: float) -> int:
    """The smallest number of hits with P(X ≤ hits) ≥ `probability`, for X ~ Binomial(trials, rate) and 0 ≤ rate ≤ 1."""
    if rate in (0.0, 1.0):
        return trials if rate else 0
    return smallest(lambda hits: at_most_probability(hits, trials, rate) >= probability, 0, trials)


def smallest(holds: Callable[[int], bool], first: int, last: int) -> int:
    """The smallest integer in [first, last] for which `holds` is true; last + 1 if there is none.

    By bisection: `holds` must stay true once it is true.
    """
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def clean_images_needed(ceiling: float, alpha: float) -> int:
    """The smallest number of images that proves a rate of at most `ceiling` if none is a hit: (1 - ceiling)^n ≤ alpha."""
    return math.ceil(math.log(alpha) / math.log1p(-ceiling))
