"""The probability of a region of paired outcomes, and its largest value over the nuisance parameter.

A claim on pairs is about p10 - p01, the probability of a loss minus the probability of a gain. The size of p01 itself is a
nuisance parameter: the claim does not name it, but the probability of an outcome depends on it. An exact test takes the
largest probability over all its values.

A region is a set of outcomes. With every outcome it holds the outcome with one loss less, and the outcome with one
unchanged pair replaced by a gain. So its probability falls in p10 and rises in p01, and its supremum over p10 - p01 ≥ δ
lies on the line p10 - p01 = δ.

How the supremum on the line is bounded: the probability is a polynomial f(q) with f(q+h) = E[1·Π(1 + h·s_i)], where the s_i
are independent with mean 0 and variance J(q) = 1/p + 1/q + 4/r. The coefficient of h^m is E[1·e_m(s)]. The elementary
symmetric polynomial e_m has the variance C(n,m)·J^m, so the coefficient is at most ½√(C(n,m)·J^m). As a difference of order
m of an indicator it is also at most ½·C(n,m)·4^m. On short cells, 20 Chebyshev nodes therefore give f within 1e-8, and
samples give the maximum of the interpolating polynomial (Ehlich and Zeller, Mathematische Zeitschrift 1964, 86:41). Both
errors are added to the reported value. It is never below the supremum, and above it by less than 1e-6 + 3e-4 of it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]
_NODES = 20
_SAMPLES = 64 * _NODES
_BETWEEN_NODES = 1e-8  # largest difference between f and its interpolation
_BETWEEN_SAMPLES = 1.0 / math.cos(math.pi * (_NODES - 1) / (2.0 * _SAMPLES))
_ROUNDING = 1e-9  # three times the float64 error of a probability of 10,000 pairs
_TINY = 1e-300
_AT_ONCE = 1_000_000


class Region:
    """A region of outcomes: for every number of gains, at most `most[gains]` losses; -1 excludes all outcomes.

    `most` (pairs + 1,) never falls, except where fewer pairs are left. Given the gains C, the losses have the distribution
    Bin(n - C, share), and P(Bin(N - 1, share) ≤ k) = P(Bin(N, share) ≤ k) + share·P(Bin(N - 1, share) = k). So from one
    number of gains to the next, the probability grows by single binomial probabilities. They are listed once, for all p10
    and p01.
    """

    def __init__(self, pairs: int, most: NDArray[np.int64]) -> None:
        self.pairs, self.most, self.fewest = pairs, most, int(most[0])
        before, after, gains = most[:-1], most[1:], np.arange(1, pairs + 1)
        leaves = (before >= 0) & (before <= pairs - gains)
        enters = np.maximum(after - before, 0)
        entered = np.repeat(gains, enters)
        place = np.arange(entered.size) - np.repeat(np.cumsum(enters) - enters, enters)
        self.gains = np.concatenate([gains[leaves], entered])
        self.losses = np.concatenate([before[leaves], np.repeat(before + 1, enters) + place])
        self.left_early = int(leaves.sum())
        self.rest = pairs - self.gains - self.losses
        factorials = special.gammaln(np.arange(pairs + 1) + 1.0)
        self.choices = factorials[pairs - self.gains] - factorials[self.losses] - factorials[self.rest]

    def probability(self, p10: Vector, p01: Vector) -> Vector:
        """Probability (k,) of the region, for vectors p10 and p01 (k,)."""
        rows = max(1, _AT_ONCE // (self.pairs + self.gains.size + 1))
        parts = [self._probability(p10[first : first + rows], p01[first : first + rows]) for first in range(0, p10.size, rows)]
        return np.concatenate(parts)

    def _probability(self, p10: Vector, p01: Vector) -> Vector:
        share = np.clip(p10 / np.maximum(1.0 - p01, _TINY), 0.0, 1.0)
        least = 0.0 if self.fewest < 0 else special.betaincc(self.fewest + 1.0, max(self.pairs - self.fewest, 1), share)
        if self.fewest == self.pairs:
            return np.ones_like(p10)
        gained = np.exp(_log_power(p01, np.arange(self.pairs + 1), self.pairs) + _log_choices(self.pairs))
        gained_or_more = np.cumsum(gained[:, ::-1], axis=1)[:, ::-1]
        chance = np.exp(_log_power(share, self.losses, self.losses + self.rest) + self.choices)
        chance[:, : self.left_early] *= share[:, None]
        return np.asarray(least + (chance * gained_or_more[:, self.gains]).sum(axis=1), dtype=np.float64)


def _log_power(rate: Vector, hits: NDArray[np.int64], trials: NDArray[np.int64] | int) -> Vector:
    """log(rate^hits · (1 - rate)^(trials - hits)) as a matrix (k, m), for rates (k,) and counts (m,)."""
    hit, miss = np.log(np.maximum(rate, _TINY)), np.log(np.maximum(1.0 - rate, _TINY))
    return np.asarray(np.outer(hit, hits) + np.outer(miss, trials - hits), dtype=np.float64)


def on_line(angles: Vector, difference: float) -> tuple[Vector, Vector]:
    """(p10, p01), each (k,), on the line p10 - p01 = `difference`, for `angles` (k,) from 0 to π.

    At 0 the fewest pairs change; at π every pair changes. At a fixed angle p10 rises and p01 falls with the difference, so
    the probability of every region falls.
    """
    least = (1.0 - abs(difference)) * np.sin(angles / 2.0) ** 2 / 2.0
    return least + max(difference, 0.0), least + max(-difference, 0.0)


def supremum(region: Region, difference: float) -> tuple[float, float]:
    """Upper bound on the probability of the region over p10 - p01 ≥ `difference`, and the approximate angle of the peak."""
    edges, between_nodes = _cells(region.pairs, difference)
    start, stop = (on_line(angles, difference)[1] for angles in (edges[:-1], edges[1:]))
    nodes, interpolate = _chebyshev()
    p01 = (start + stop)[:, None] / 2.0 + (stop - start)[:, None] / 2.0 * nodes
    at_nodes = region.probability((p01 + difference).ravel(), p01.ravel()).reshape(p01.shape)
    sampled = at_nodes @ interpolate
    top, bottom = sampled.max(axis=1), sampled.min(axis=1)
    bound = (top + bottom) / 2.0 + (top - bottom) / 2.0 * _BETWEEN_SAMPLES + between_nodes
    best = np.unravel_index(int(np.argmax(at_nodes)), at_nodes.shape)
    least = p01[best] - max(-difference, 0.0)
    angle = 2.0 * math.asin(math.sqrt(min(1.0, max(0.0, 2.0 * least / (1.0 - abs(difference))))))
    return min(1.0, float(bound.max()) + _ROUNDING), angle


def _cells(pairs: int, difference: float) -> tuple[Vector, Vector]:
    """Edges of cells on the line as angles (k + 1,), and the interpolation error in each cell (k,), small enough."""
    count = 4 + int(math.sqrt(pairs) / 4.0)
    edges = np.linspace(0.0, math.pi, count + 1)
    while (coarse := _interpolation_error(pairs, *on_line(edges, difference)) > _BETWEEN_NODES)[2:-2].any():
        count = math.ceil(count * 1.1)
        edges = np.linspace(0.0, math.pi, count + 1)
    while coarse.any():
        edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[coarse] / 2.0]))
        coarse = _interpolation_error(pairs, *on_line(edges, difference)) > _BETWEEN_NODES
    return edges, _interpolation_error(pairs, *on_line(edges, difference))


def _interpolation_error(pairs: int, p10: Vector, p01: Vector) -> Vector:
    """Largest difference (k,) between f and its interpolation in each cell between the points (k + 1,) on the line."""
    if pairs < _NODES:
        return np.zeros(p01.size - 1)
    half = np.diff(p01) / 2.0
    rest = np.maximum(1.0 - p10 - p01, 0.0)[1:]
    with np.errstate(divide="ignore", over="ignore"):
        information = 1.0 / p10[:-1] + 1.0 / p01[:-1] + 4.0 / rest
        log_reach, log_half = np.log(information) / 2.0, np.log(half)
    log_choices = float(_log_choices(pairs)[_NODES])
    coefficient = np.minimum(log_choices / 2.0 + _NODES * log_reach, log_choices + _NODES * math.log(4.0))
    return np.asarray(np.exp(coefficient + _NODES * log_half - _NODES * math.log(2.0)), dtype=np.float64)


@lru_cache(maxsize=1)
def _chebyshev() -> tuple[Vector, Vector]:
    """Chebyshev nodes on [-1, 1], and the matrix that maps values at the nodes to the interpolating polynomial at the samples."""
    degrees = np.arange(_NODES)
    node_angles = (degrees + 0.5) * math.pi / _NODES
    sample_angles = (np.arange(_SAMPLES) + 0.5) * math.pi / _SAMPLES
    weights = np.where(degrees == 0, 1.0, 2.0) / _NODES
    matrix = np.cos(np.outer(node_angles, degrees)) * weights @ np.cos(np.outer(degrees, sample_angles))
    return np.cos(node_angles), np.asarray(matrix, dtype=np.float64)


@lru_cache(maxsize=16)
def _log_choices(pairs: int) -> Vector:
    """Natural logarithms (pairs + 1,) of the binomial coefficients (pairs over k), k = 0 … pairs."""
    factorials = special.gammaln(np.arange(pairs + 1) + 1.0)
    return np.asarray(factorials[-1] - factorials - factorials[::-1], dtype=np.float64)
