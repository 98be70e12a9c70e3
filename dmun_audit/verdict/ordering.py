"""Rank correlation between the claimed similarity of concepts and their measured damage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from dmun_audit.verdict.checks import check_count, finite_vector

FEWEST_CONCEPTS = 20  # with fewer concepts the power at rho = .5 is too low for a claim
_DRAWS_AT_ONCE = 512


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with its permutation p-values and its interval.

    Attributes:
        rho: The correlation, from -1 to 1; None if the data have none.
        p_one_sided: p-value against "damage does not rise with similarity".
        p_two_sided: p-value against "damage does not depend on similarity".
        lower: Lower end of the interval; None below four concepts.
        upper: Upper end of the interval.
        confidence: Coverage of the interval.
        concepts: Number of concepts.
        draws: Number of random permutations.
        descriptive: Whether there are too few concepts for a claim.
        note: Why `rho` is None; empty otherwise.
    """

    rho: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    lower: float | None
    upper: float | None
    confidence: float
    concepts: int
    draws: int
    descriptive: bool
    note: str


def spearman(
    similarity: ArrayLike, damage: ArrayLike, draws: int = 9_999, seed: int = 0, confidence: float = 0.95
) -> RankCorrelation:
    """Spearman's rank correlation of `similarity` and `damage`, with permutation p-values and an interval.

    Equal values share the average of their ranks. A p-value is (1 + permutations at least as extreme)/(1 + permutations):
    exact, since the observed order is one of them. The interval is approximate: Fisher's z with the standard error
    √((1 + rho²/2)/(n - 3)) of Bonett and Wright, Psychometrika 2000. For its centre, a rho of ±1 is moved inwards by half
    of its smallest possible step, so that the interval has a width.

    Args:
        similarity: Similarity of each concept (n,); larger is more similar.
        damage: Damage of each concept (n,); larger is worse.
        draws: Number of random permutations.
        seed: Seed of the permutations.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The correlation; its `rho` is None below three concepts, or if all values of one side are equal.

    Raises:
        ValueError: For sides of different lengths, values that are not finite, or no draws.

    Example:
        >>> correlation = spearman([0.9, 0.7, 0.5, 0.3, 0.1], [0.4, 0.5, 0.2, 0.1, 0.0])
        >>> round(correlation.rho, 2), correlation.descriptive
        (0.9, True)
    """
    left, right = finite_vector(similarity, "similarity"), finite_vector(damage, "damage")
    if left.size != right.size:
        raise ValueError(f"There are {left.size} similarities but {right.size} damages.")
    draws, n = check_count(draws, "draws"), int(left.size)
    if draws == 0 or not 0.0 < confidence < 1.0:
        raise ValueError("A rank correlation needs at least one draw and a confidence between 0 and 1.")
    note = ""
    if n < 3:
        note = "fewer than three concepts"
    elif (left == left[0]).all():
        note = "the similarity is the same for all concepts"
    elif (right == right[0]).all():
        note = "the damage is the same for all concepts"
    if note:
        return RankCorrelation(None, None, None, None, None, float(confidence), n, draws, True, note)
    ranks, other = average_ranks(left), average_ranks(right)
    ranks, other = ranks - ranks.mean(), other - other.mean()
    observed, scale = float(ranks @ other), math.sqrt(float(ranks @ ranks) * float(other @ other))
    rho = max(-1.0, min(1.0, observed / scale))
    # Centred ranks are multiples of ½ and their products exact in float64: ties need no tolerance.
    generator = np.random.default_rng(seed)
    greater = further = 0
    for first in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - first)
        drawn = generator.permuted(np.tile(other, (count, 1)), axis=1) @ ranks
        greater += int((drawn >= observed).sum())
        further += int((np.abs(drawn) >= abs(observed)).sum())
    lower, upper = fisher_interval(rho, n, confidence)
    one_sided, two_sided = (1 + greater) / (1 + draws), (1 + further) / (1 + draws)
    return RankCorrelation(rho, one_sided, two_sided, lower, upper, float(confidence), n, draws, n < FEWEST_CONCEPTS, "")


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (n,) of `values` (n,) from 1 to n; equal values share the average of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def fisher_interval(rho: float, concepts: int, confidence: float) -> tuple[float | None, float | None]:
    """Two-sided interval for `rho` on Fisher's z scale; (None, None) below four concepts."""
    if concepts < 4:
        return None, None
    step = 12.0 / (concepts * (concepts**2 - 1))
    edge = 1.0 - step / 2.0
    z = math.atanh(max(-edge, min(edge, rho)))
    reach = float(special.ndtri((1.0 + confidence) / 2.0)) * math.sqrt((1.0 + rho**2 / 2.0) / (concepts - 3))
    lower = -1.0 if rho <= -1.0 else math.tanh(z - reach)
    upper = 1.0 if rho >= 1.0 else math.tanh(z + reach)
    return lower, upper
