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
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

# The cells of the grid over a prior distribution, as shares of its probability. The upper tail has finer cells.
_EDGES = np.concatenate([np.linspace(0.0, 0.96, 41), 1.0 - 0.04 * 0.4 ** np.arange(1, 9), [1.0]])
_SHARES, _CELLS = (_EDGES[1:] + _EDGES[:-1]) / 2.0, np.diff(_EDGES)
_SHARE_OF_WIDE = 0.2  # of the prior Beta(½, ½) in the bet that proves a claim


@dataclass(frozen=True)
class Stakes:
    """Stakes θ in (0, 1) of a mixture, shape (cells,), and their weights, which sum to one."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]


@lru_cache(maxsize=4096)
def safe_stakes(ceiling: float) -> Stakes:
    """Stakes θ = 1 - p/c of the bet against "the rate is at least c", c = `ceiling`.

    The rates p are quantiles of two distributions, cut to [0, c]. One is Beta(½, b) with the mean c/16 and the weight .8:
    a model that may be released hardly ever shows the target. The other is Beta(½, ½) with the weight .2: it finds rates up
    to c/2 sooner. At c = .05 and alpha = .05, 0, 1, 2 and 3 hits pass after 64, 131, 183 and 228 images.
    """
    narrow, wide = (0.5, 0.5 * (1.0 - ceiling / 16.0) / (ceiling / 16.0)), (0.5, 0.5)
    quantiles = [special.betaincinv(a, b, _SHARES * special.betainc(a, b, ceiling)) for a, b in (narrow, wide)]
    weights = np.concatenate([_CELLS * (1.0 - _SHARE_OF_WIDE), _CELLS * _SHARE_OF_WIDE])
    return Stakes(np.asarray(1.0 - np.concatenate(quantiles) / ceiling, dtype=np.float64), weights)


@lru_cache(maxsize=1)
def harm_stakes() -> Stakes:
    """Stakes of the bet against "the rate is at most c": quantiles of Beta(½, ½).

    This distribution has weight near 0 and near 1, so the bet finds small excesses and large ones.
    """
    return Stakes(np.asarray(special.betaincinv(0.5, 0.5, _SHARES), dtype=np.float64), _CELLS)


def log_capital(counts: tuple[float, float, float], mean: float, stakes: Stakes) -> float:
    """Natural logarithm of the mixture's capital against "the mean is at least `mean`".

    `counts` says how often x was 0, ½ and 1.
    """
    odds = mean / (1.0 - mean)
    middle = (mean - 0.5) / (1.0 - mean)
    thetas = stakes.values
    logs = counts[0] * np.log1p(thetas * odds) + counts[1] * np.log1p(thetas * middle) + counts[2] * np.log1p(-thetas)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top) @ stakes.weights))
