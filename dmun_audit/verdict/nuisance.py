"""The probability of a region of paired outcomes, and a certified search for its largest value over the nuisance.

A pair is lost with probability p10 and won with p01. A region holds, with every outcome, those with one loss fewer and
those with one gain more in place of an unchanged pair; so its probability falls in p10 and rises in p01, and its supremum
over p10 - p01 ≥ δ lies on the line p10 - p01 = δ.

On the line the probability is a polynomial f(q), f(q+h) = E[1·Π(1 + h·s_i)] with independent s_i of mean 0 and variance
J(q) = 1/p + 1/q + 4/r. The coefficient of h^m is E[1·e_m(s)], and the variance of the elementary symmetric e_m is
C(n,m)·J^m, so it is at most ½√(C(n,m)·J^m); as a difference of order m of an indicator it is also at most
½·C(n,m)·4^m. On short cells f is therefore known from 20 Chebyshev nodes to within 1e-8, and the maximum of the
interpolating polynomial from samples (Ehlich and Zeller, Mathematische Zeitschrift 1964, 86:41). All of it is added to what
is reported, which lies above the supremum by less than 1e-6 + 3e-4 of it, and never below it.
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
_BETWEEN_NODES = 1e-8  # most that f may differ from its interpolation
_BETWEEN_SAMPLES = 1.0 / math.cos(math.pi * (_NODES - 1) / (2.0 * _SAMPLES))
_ROUNDING = 1e-9  # float64 errors of the probabilities of 10,000 pairs, threefold
_TINY = 1e-300
_AT_ONCE = 1_000_000


class Region:
    """Outcomes at least as safe as the one seen: at most `most[gains]` losses, for every number of gains; -1 for none.

    `most` never falls, but where fewer pairs are left. Given the gains C, losses are Bin(n - C, share), and
    P(Bin(N - 1, share) ≤ k) = P(Bin(N, share) ≤ k) + share·P(Bin(N - 1, share) = k). So from one number of gains to the
    next the chance of few enough losses grows by single binomial probabilities, listed here once for all p10 and p01.
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
        """Probability of the region for vectors (k,) of p10 and p01."""
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
    """log(rate^hits · (1 - rate)^(trials - hits)) for rates (k,) and counts (m,): (k, m)."""
    hit, miss = np.log(np.maximum(rate, _TINY)), np.log(np.maximum(1.0 - rate, _TINY))
    return np.asarray(np.outer(hit, hits) + np.outer(miss, trials - hits), dtype=np.float64)


def on_line(angles: Vector, difference: float) -> tuple[Vector, Vector]:
    """(p10, p01) on the line p10 - p01 = `difference`, from the end with the fewest changed pairs (0) to no other pair (π).

    At one angle p10 rises and p01 falls with the difference, so every region's probability falls.
    """
    least = (1.0 - abs(difference)) * np.sin(angles / 2.0) ** 2 / 2.0
    return least + max(difference, 0.0), least + max(-difference, 0.0)


def supremum(region: Region, difference: float) -> tuple[float, float]:
    """An upper bound of the region's probability over p10 - p01 ≥ `difference`, and the angle where it is met about."""
    edges, between_nodes = _cells(region.pairs, difference)
    start, stop = (on_line(angles, difference)[1] for angles in (edges[:-1], edges[1:]))
    nodes, interpolate = _chebyshev()
    p01 = (start + stop)[:, None] / 2.0 + (stop - start)[:, None] / 2.0 * nodes
    found = region.probability((p01 + difference).ravel(), p01.ravel()).reshape(p01.shape)
    sampled = found @ interpolate
    top, bottom = sampled.max(axis=1), sampled.min(axis=1)
    bound = (top + bottom) / 2.0 + (top - bottom) / 2.0 * _BETWEEN_SAMPLES + between_nodes
    best = np.unravel_index(int(np.argmax(found)), found.shape)
    least = p01[best] - max(-difference, 0.0)
    angle = 2.0 * math.asin(math.sqrt(min(1.0, max(0.0, 2.0 * least / (1.0 - abs(difference))))))
    return min(1.0, float(bound.max()) + _ROUNDING), angle


def _cells(pairs: int, difference: float) -> tuple[Vector, Vector]:
    """Edges of cells on the line as angles (k + 1,), fine enough for their nodes, and the error that is left in each (k,)."""
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
    """Most that f can differ from its interpolation in each cell between the points (k + 1,) on the line: (k,)."""
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
    """Chebyshev nodes on [-1, 1], and the matrix that takes values there to the interpolating polynomial at the samples."""
    degrees = np.arange(_NODES)
    node_angles = (degrees + 0.5) * math.pi / _NODES
    sample_angles = (np.arange(_SAMPLES) + 0.5) * math.pi / _SAMPLES
    weights = np.where(degrees == 0, 1.0, 2.0) / _NODES
    matrix = np.cos(np.outer(node_angles, degrees)) * weights @ np.cos(np.outer(degrees, sample_angles))
    return np.cos(node_angles), np.asarray(matrix, dtype=np.float64)


@lru_cache(maxsize=16)
def _log_choices(pairs: int) -> Vector:
    """Logs of the binomial coefficients (pairs over k) for k = 0 … pairs."""
    factorials = special.gammaln(np.arange(pairs + 1) + 1.0)
    return np.asarray(factorials[-1] - factorials - factorials[::-1], dtype=np.float64)
