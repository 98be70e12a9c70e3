"""Bounds on the mean of bounded observations, by betting against every possible mean.

Let X_1 … X_n in [0, 1] be independent, with an average mean of at most m. Bet with a stake θ in (0, 1) that was fixed in
advance. The capital Π(1 + θ(X_i/m - 1)) then has an expectation of at most 1: by independence the expectation is
Π(1 + θ(μ_i/m - 1)), and the logarithm is concave. The mixture, an average over several stakes, has such an expectation
too. By Markov's inequality a capital of 1/alpha rejects the mean m with an error rate of at most alpha.

This is a betting bound of Waudby-Smith and Ramdas (Estimating means of bounded random variables by betting, JRSS-B 2024)
for a fixed number of observations and a fixed mixture. Their stakes, which follow earlier observations, can give tighter
bounds if all observations have one mean. An audit pools concepts with different means. There, stakes that follow earlier
concepts lose the guarantee; fixed stakes keep it, and the bound does not depend on the order of the images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

STAKES = np.array([0.0625, 0.125, 0.25, 0.5, 0.9])  # small stakes suit many noisy images, large stakes few or equal images
_HALVINGS = 60


def log_capital(values: NDArray[np.float64], mean: float) -> float:
    """Natural logarithm of the mixture's capital against "the average mean of `values` (n,) in [0, 1] is at most `mean`"."""
    logs = np.log1p(np.outer(STAKES, values / mean - 1.0)).sum(axis=1)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def mean_lower_bound(values: NDArray[np.float64], alpha: float) -> float:
    """Lower bound on the average mean of independent `values` (n,) in [0, 1]; its error rate is at most `alpha`.

    The capital falls as the tested mean rises. So bisection finds the bound; it is rounded towards 0.
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
    """Approximate number of observations like `values` that reject "the average mean is at most `mean`" with power Φ(z).

    Uses the best single stake and a normal approximation to its logarithmic capital. None if no stake gains on average.
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
