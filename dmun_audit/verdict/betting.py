"""The bet behind the anytime-valid rule: its capital, and the mixture of stakes.

For observations x in [0, 1], a mean m and a stake θ in (0, 1) that was fixed in advance, the capital of the bet is
Π(1 + θ(m - x)/(1 - m)). If every observation has a mean of at least m, the capital is a supermartingale: on average it
never grows. The mixture, an average of this capital over several stakes, is a supermartingale too. By Ville's inequality
it reaches 1/alpha at any time with a probability of at most alpha. For a rate and θ = 1 - p/c the capital is the
likelihood ratio of the rates p and c.

Sources: Howard, Ramdas, McAuliffe and Sekhon, Time-uniform Chernoff bounds, Probability Surveys 2020; Waudby-Smith and
Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024, §4. Their stakes may depend on earlier
observations. The stakes here are fixed, for the reason given in `bounded_mean`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

# The cells of the grid over a prior distribution, as shares of its probability. The upper tail has finer cells.
_EDGES = np.concatenate([np.linspace(0.0, 0.96, 41), 1.0 - 0.04 * 0.4 ** np.arange(1, 9), [1.0]])
_SHARES, _WEIGHTS = (_EDGES[1:] + _EDGES[:-1]) / 2.0, np.diff(_EDGES)


@lru_cache(maxsize=4096)
def safe_stakes(ceiling: float) -> NDArray[np.float64]:
    """Stakes θ = 1 - p/c (cells,) of the bet against "the rate is at least c", c = `ceiling`.

    The rates p are quantiles of the distribution Beta(½, b) with the mean c/16, cut to [0, c]. Most of it lies near 0,
    because a model that may be released hardly ever shows the target. At c = .05 and alpha = .05, 0, 1, 2 and 3 hits pass
    after 62, 131, 185 and 232 images.
    """
    a, b = 0.5, 0.5 * (1.0 - ceiling / 16.0) / (ceiling / 16.0)
    quantiles = special.betaincinv(a, b, _SHARES * special.betainc(a, b, ceiling))
    return np.asarray(1.0 - quantiles / ceiling, dtype=np.float64)


@lru_cache(maxsize=1)
def harm_stakes() -> NDArray[np.float64]:
    """Stakes (cells,) of the bet against "the rate is at most c": quantiles of Beta(½, ½).

    This distribution has weight near 0 and near 1, so the bet finds small excesses and large ones.
    """
    return np.asarray(special.betaincinv(0.5, 0.5, _SHARES), dtype=np.float64)


def log_capital(counts: tuple[float, float, float], mean: float, stakes: NDArray[np.float64]) -> float:
    """Natural logarithm of the mixture's capital against "the mean is at least `mean`".

    `counts` says how often x was 0, ½ and 1; `stakes` (cells,) are the stakes of the mixture.
    """
    odds = mean / (1.0 - mean)
    middle = (mean - 0.5) / (1.0 - mean)
    logs = counts[0] * np.log1p(stakes * odds) + counts[1] * np.log1p(stakes * middle) + counts[2] * np.log1p(-stakes)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top) @ _WEIGHTS))
