"""Exact one-sided bounds on a rate (Clopper and Pearson 1934), and the sample sizes that follow from them.

All bounds are for a number of images fixed in advance; none of them survives drawing more images until it passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from dmun_audit.verdict.checks import check_count, check_hits, check_inside

MOST_IMAGES = 20_000  # beyond this many images a plan is no plan


def upper_bound(hits: int, trials: int, alpha: float = 0.05) -> float:
    """Largest rate under which `hits` or fewer in `trials` still have a probability of `alpha`.

    One-sided: the true rate lies above it with a probability of at most `alpha`. No trials: 1.
    """
    hits, trials = check_hits(hits, trials)
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    return 1.0 if hits == trials else float(special.betainccinv(hits + 1, trials - hits, alpha))


def lower_bound(hits: int, trials: int, alpha: float = 0.05) -> float:
    """Smallest rate under which `hits` or more in `trials` still have a probability of `alpha`.

    One-sided: the true rate lies below it with a probability of at most `alpha`. No trials: 0.
    """
    hits, trials = check_hits(hits, trials)
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    return 0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, alpha))


def at_most_probability(hits: int, trials: int, rate: float) -> float:
    """P(X ≤ hits) for X ~ Binomial(trials, rate): the p-value against a rate of at least `rate`."""
    hits, trials = check_hits(hits, trials)
    rate = check_inside(rate, 0.0, 1.0, "rate")
    return 1.0 if hits == trials else float(special.betaincc(hits + 1, trials - hits, rate))


def at_least_probability(hits: int, trials: int, rate: float) -> float:
    """P(X ≥ hits) for X ~ Binomial(trials, rate): the p-value against a rate of at most `rate`."""
    hits, trials = check_hits(hits, trials)
    rate = check_inside(rate, 0.0, 1.0, "rate")
    return 1.0 if hits == 0 else float(special.betainc(hits, trials - hits + 1, rate))


def allowed_hits(trials: int, ceiling: float, alpha: float = 0.05) -> int:
    """Largest number of hits that still proves a rate of at most `ceiling`; -1 when not even 0 hits prove it."""
    trials, ceiling = check_count(trials, "trials"), check_inside(ceiling, 0.0, 1.0, "ceiling")
    return smallest(lambda hits: upper_bound(hits, trials, alpha) > ceiling, 0, trials) - 1


def required_hits(trials: int, floor: float, alpha: float = 0.05) -> int:
    """Smallest number of hits that proves a rate of at least `floor`; trials + 1 when not even all hits prove it."""
    trials, floor = check_count(trials, "trials"), check_inside(floor, 0.0, 1.0, "floor")
    return smallest(lambda hits: lower_bound(hits, trials, alpha) >= floor, 0, trials)


def sample_size(
    ceiling: float, judged_rate: float, alpha: float = 0.05, power: float = 0.95, most: int = MOST_IMAGES
) -> int | None:
    """Smallest n at which a fresh audit of n images passes with probability `power` if its true rate is `judged_rate`.

    It passes with `allowed_hits(n, ceiling, alpha)` hits or fewer. The power is not monotone in n: a few images more
    can have less of it. None when the judged rate is not under the ceiling, or when more than `most` images are needed.
    """
    ceiling, alpha = check_inside(ceiling, 0.0, 1.0, "ceiling"), check_inside(alpha, 0.0, 1.0, "alpha")
    power = check_inside(power, 0.0, 1.0, "power")
    if not 0.0 <= judged_rate <= 1.0:
        raise ValueError(f"judged_rate must lie between 0 and 1, but is {judged_rate!r}.")
    if judged_rate >= ceiling:
        return None
    # For each number of hits, the fewest trials that allow it have the most power.
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
    """Smallest number of hits with P(X ≤ hits) ≥ `probability` for X ~ Binomial(trials, rate), 0 ≤ rate ≤ 1."""
    if rate in (0.0, 1.0):
        return trials if rate else 0
    return smallest(lambda hits: at_most_probability(hits, trials, rate) >= probability, 0, trials)


def smallest(holds: Callable[[int], bool], first: int, last: int) -> int:
    """Smallest integer in [first, last] from which on `holds` is true, by bisection; last + 1 when it never is."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def clean_images_needed(ceiling: float, alpha: float) -> int:
    """How many images without a hit prove at `alpha` that a rate is at most `ceiling`: the least n with (1 - ceiling)^n ≤ alpha."""
    return math.ceil(math.log(alpha) / math.log1p(-ceiling))
