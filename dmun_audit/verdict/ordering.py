"""Rank correlation of the similarity that a source claims with the damage that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from dmun_audit.verdict.checks import check_count, finite_vector

FEWEST_CONCEPTS = 20  # below this the power at rho = .5 is too low for more than a description
_DRAWS_AT_ONCE = 512


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with its permutation p-values and interval; None stands for what the data cannot say."""

    rho: float | None
    p_one_sided: float | None  # against "greater similarity does not go with greater damage"
    p_two_sided: float | None
    lower: float | None
    upper: float | None
    confidence: float
    concepts: int
    draws: int
    descriptive: bool
    note: str  # why rho is None; empty otherwise


def spearman(
    similarity: ArrayLike, damage: ArrayLike, draws: int = 9_999, seed: int = 0, confidence: float = 0.95
) -> RankCorrelation:
    """Correlate the ranks of `similarity` (n,) and `damage` (n,); both grow upwards, ties share their average rank.

    The p-values are those of a permutation test, (1 + draws at least as extreme)/(1 + draws). The interval is Fisher's
    z with the standard error √((1 + rho²/2)/(n - 3)) of Bonett and Wright (Psychometrika 2000), from four concepts on;
    a rho of ±1 is drawn in by half of the smallest step that it can take, so that its interval has a width. rho is
    None below three concepts or when one side is constant.
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
    """Ranks of `values` (n,) from 1 to n; equal values share the average of their ranks."""
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
