"""Bounds on the mean of bounded observations by betting against every candidate mean.

If X_1 … X_n in [0, 1] are independent and their average mean is at most m, the capital Π(1 + θ(X_i/m - 1)) of a bet
with a stake θ in (0, 1) fixed in advance has an expectation of at most 1: by independence it is Π(1 + θ(μ_i/m - 1)),
and the logarithm is concave. So does the average over several stakes, and by Markov's inequality a capital of
1/alpha refutes the mean m at level alpha.

This is the fixed-n, fixed-mixture member of the betting bounds of Waudby-Smith and Ramdas (Estimating means of bounded
random variables by betting, JRSS-B 2024). Their predictable stakes can be tighter for observations with one common
mean, but an audit pools concepts with different means, and there stakes that look at earlier concepts lose the
guarantee. Fixed stakes keep it and make the bound independent of the order of the images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

STAKES = np.array([0.0625, 0.125, 0.25, 0.5, 0.9])  # small ones for many noisy images, large ones for few or equal ones
_HALVINGS = 60


def log_capital(values: NDArray[np.float64], mean: float) -> float:
    """Log of the mixture's capital against "the average mean of `values` (n,), all in [0, 1], is at most `mean`"."""
    logs = np.log1p(np.outer(STAKES, values / mean - 1.0)).sum(axis=1)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def mean_lower_bound(values: NDArray[np.float64], alpha: float) -> float:
    """Lower bound on the average mean of independent `values` (n,) in [0, 1], wrong with probability ≤ `alpha`.

    The capital falls as the candidate mean rises, so the bound is found by bisection, rounded towards 0.
    """
    goal = math.log(1.0 / alpha)
    low, high = 0.0, float(values.mean()) if values.size else 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle == 0.0:
            break
        if log_capital(values, middle) >= goal:
            low = middle
        else:
            high = middle
    return low


def mean_upper_bound(values: NDArray[np.float64], alpha: float) -> float:
    """Upper bound on the average mean, the mirror of `mean_lower_bound`."""
    return 1.0 - mean_lower_bound(1.0 - values, alpha)


def observations_needed(values: NDArray[np.float64], mean: float, alpha: float, z: float) -> int | None:
    """About how many observations like `values` refute "the average mean is at most `mean`" with power Φ(z).

    Takes the best single stake and a normal approximation to its log capital; None when no stake would win.
    """
    if values.size < 2:
        return None
    gains = np.log1p(np.outer(STAKES, values / mean - 1.0))
    drift, spread = gains.mean(axis=1), gains.std(axis=1, ddof=1)
    goal = math.log(STAKES.size / alpha)
    needed = [
        ((z * s + math.sqrt((z * s) ** 2 + 4.0 * d * goal)) / (2.0 * d)) ** 2
        for d, s in zip(drift.tolist(), spread.tolist(), strict=True)
        if d > 0.0
    ]
    return math.ceil(min(needed)) if needed else None
