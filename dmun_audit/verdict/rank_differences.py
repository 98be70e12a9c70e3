"""Does one source predict the damage better than another? The difference of two correlations with the same damage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dmun_audit.verdict.concepts_needed import concepts_to_tell_apart
from dmun_audit.verdict.ordering import average_ranks
from dmun_audit.verdict.pooled_ordering import (
    PooledCorrelation,
    RankedConcepts,
    covariance,
    interval,
    normal_quantile,
    pooled_spearman,
    ranked_concepts,
    smallest_step,
)

LEAST_P_VALUE = 1e-12
_FURTHEST = float(-special.ndtri(LEAST_P_VALUE / 2.0))


@dataclass(frozen=True)
class RankDifference:
    """The difference of two pooled rank correlations with the same damages.

    Attributes:
        difference: The first rho minus the second; None if one of them is undefined.
        lower: Lower end of the interval.
        upper: Upper end of the interval.
        p_two_sided: p-value against "both are equal": the interval of the confidence 1 - p just reaches 0.
        first: The first rho, over the concepts that both sources order.
        second: The second rho.
        audits: Number of audits with both.
        concepts: Number of their concepts, each audit's counted.
        needed: Concepts in one audit at which a test at the 5% level would tell the two apart with 80% power, if the observed
            difference is the true one; None for more than any dossier holds.
    """

    difference: float | None
    lower: float | None = None
    upper: float | None = None
    p_two_sided: float | None = None
    first: float | None = None
    second: float | None = None
    audits: int = 0
    concepts: int = 0
    needed: int | None = None


def rank_correlation_difference(
    first: ArrayLike, second: ArrayLike, damage: ArrayLike, confidence: float = 0.95
) -> RankDifference:
    """The difference of Spearman's rho of `first` with `damage` and of `second` with `damage`, on the same concepts.

    Both correlations share the damage and are not independent. The interval is Zou's for overlapping correlations, made of
    Bonett and Wright's intervals for Spearman's rho. In drawn audits with 8 to 40 concepts it holds the true difference in 94%
    to 99% of cases; with two correlations of 0.98 in 89% to 97% (`benchmarks/orderings.py`).
    Sources: Zou, Psychological Methods 2007; Bonett and Wright, Psychometrika 2000; Steiger, Psychological Bulletin 1980.

    Args:
        first: Similarities by the first source (n,).
        second: Similarities by the second source (n,), of the same concepts.
        damage: Damage of each concept (n,).
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The difference; it is None below four concepts, or if all values of one side are equal.

    Raises:
        ValueError: For sides of different lengths, or values that are not finite.

    Example:
        >>> damage = [0.0, 0.1, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8]
        >>> found = rank_correlation_difference(range(8), [3, 1, 0, 7, 2, 6, 5, 4], damage)
        >>> round(found.difference, 2), round(found.p_two_sided, 4)
        (0.5, 0.0016)
    """
    names = [str(place) for place in range(np.size(np.asarray(damage)))]
    one, other = (ranked_concepts("", names, np.asarray(side).tolist(), np.asarray(damage).tolist()) for side in (first, second))
    return pooled_difference([one], [other], confidence)


def pooled_difference(
    first: Sequence[RankedConcepts], second: Sequence[RankedConcepts], confidence: float = 0.95
) -> RankDifference:
    """The difference of two sources' mean correlations over the same audits, as `pooled_spearman` averages them.

    Of each audit, the concepts count that both sources order. Audits in which one of the two has no rho are left out. The
    covariance of the two means is the asymptotic one (Olkin and Siotani; Steiger, Psychological Bulletin 1980), on ranks.

    Args:
        first: The concepts of each audit, with the similarity of the first source.
        second: The same audits in the same order, with the similarity of the second source.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The difference; it is None if no audit has both.

    Raises:
        ValueError: For lists of different lengths.

    Example:
        >>> damage = [0.0, 0.1, 0.2, 0.4, 0.5, 0.7]
        >>> good, poor = [0.1, 0.2, 0.3, 0.5, 0.4, 0.6], [0.4, 0.1, 0.6, 0.2, 0.5, 0.3]
        >>> sources = [[ranked_concepts(target, "abcdef", side, damage) for target in ("one", "other")] for side in (good, poor)]
        >>> round(pooled_difference(*sources).difference, 2)
        0.86
    """
    pairs = []
    for one, other in zip(first, second, strict=True):
        known = set(other.names)
        common = [name for name in one.names if name in known]
        pair = one.only(common), other.only(common)
        if pair[0].rho is not None and pair[1].rho is not None:
            pairs.append(pair)
    if not pairs:
        return RankDifference(None)
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    rhos = pooled_spearman(left, draws=1), pooled_spearman(right, draws=1)
    if all((average_ranks(one.similarity) == average_ranks(other.similarity)).all() for one, other in pairs):
        rho, audits, concepts = rhos[0].rho, rhos[0].audits, rhos[0].concepts
        return RankDifference(0.0, 0.0, 0.0, 1.0, rho, rho, audits, concepts)  # both order the concepts alike
    return _difference(rhos, left, right, normal_quantile(confidence))


def _difference(
    rhos: tuple[PooledCorrelation, PooledCorrelation], left: Sequence[RankedConcepts], right: Sequence[RankedConcepts], z: float
) -> RankDifference:
    (one, one_error), (other, other_error) = ((each.rho or 0.0, each.error or 0.0) for each in rhos)
    step = smallest_step(left)
    errors = one_error * other_error
    together = max(-1.0, min(1.0, covariance(left, right) / errors)) if errors else 0.0

    def ends(z: float, scale: float = 1.0) -> tuple[float, float]:
        """The interval, `z` standard errors wide to both sides; `scale` stretches the errors."""
        low, high = interval(one, scale * one_error, step, z)
        other_low, other_high = interval(other, scale * other_error, step, z)
        below = _length(one - low, other_high - other, together)
        above = _length(high - one, other - other_low, together)
        return one - other - below, one - other + above

    difference, degrees = one - other, rhos[0].blocks * (rhos[0].concepts / rhos[0].audits - 3.0)

    def told_apart(concepts: int, z: float) -> bool:
        return _nearest(difference, ends(z, math.sqrt(degrees / (concepts - 3.0)))) > 0.0

    lower, upper = ends(z)
    return RankDifference(
        difference,
        lower,
        upper,
        _p_value(difference, ends),
        one,
        other,
        rhos[0].audits,
        rhos[0].concepts,
        concepts_to_tell_apart(told_apart) if difference else None,
    )


def _length(one: float, other: float, together: float) -> float:
    """The length of the difference of two errors that vary together so far."""
    return math.sqrt(max(0.0, one**2 + other**2 - 2.0 * together * one * other))


def _nearest(difference: float, ends: tuple[float, float]) -> float:
    """The end of the interval towards 0, positive as long as the interval excludes 0."""
    return ends[0] if difference > 0 else -ends[1]


def _p_value(difference: float, ends: Callable[[float], tuple[float, float]]) -> float:
    """The p-value with which the interval of that confidence just reaches 0."""
    if difference == 0.0 or _nearest(difference, ends(0.0)) <= 0.0:
        return 1.0
    if _nearest(difference, ends(_FURTHEST)) > 0.0:
        return LEAST_P_VALUE
    from scipy import optimize  # here, because its import is slow

    return float(2.0 * special.ndtr(-optimize.brentq(lambda z: _nearest(difference, ends(z)), 0.0, _FURTHEST)))
