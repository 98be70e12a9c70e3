"""Rank correlations pooled over several audits, with one p-value and one interval: a single audit is the simplest case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmun_audit.verdict.checks import check_count, check_inside, finite_vector
from dmun_audit.verdict.ordering import average_ranks

_DRAWS_AT_ONCE = 256
_TOLERANCE = 1e-12  # of a mean of correlations, which is not exact in float64
_LEAST = 4
"""Concepts below which a rank correlation has no interval."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class RankedConcepts:
    """The concepts of one audit, as one source orders them and as they were damaged.

    Attributes:
        block: What audits share whose concepts are damaged alike, such as the target. Audits of one block depend on each other.
        names: Names of the concepts (n,), each once.
        similarity: Their similarity to the target (n,), as the source says.
        damage: Their damage (n,); larger is worse.
    """

    block: str
    names: tuple[str, ...]
    similarity: Vector
    damage: Vector

    @cached_property
    def rho(self) -> float | None:
        """Spearman's rho; None below four concepts, or if all values of one side are equal."""
        return _rho(self.similarity, self.damage) if len(self.names) >= _LEAST else None

    def only(self, names: Sequence[str]) -> RankedConcepts:
        """The same audit with only these of its concepts, in this order."""
        places = {name: place for place, name in enumerate(self.names)}
        chosen = [places[name] for name in names]
        return RankedConcepts(self.block, tuple(names), self.similarity[chosen], self.damage[chosen])


def ranked_concepts(block: str, names: Sequence[str], similarity: Sequence[float], damage: Sequence[float]) -> RankedConcepts:
    """The concepts of one audit, for `pooled_spearman` and `pooled_difference`.

    Args:
        block: What audits share whose concepts are damaged alike, such as the name of the target.
        names: Names of the concepts (n,), each once.
        similarity: Their similarity to the target (n,), as a source says.
        damage: Their damage (n,); larger is worse.

    Returns:
        The concepts with their values.

    Raises:
        ValueError: For sides of different lengths, a name twice, or values that are not finite.

    Example:
        >>> ranked_concepts("Van Gogh", ["Monet", "Klimt", "a car", "a cat"], [0.8, 0.6, 0.2, 0.1], [0.4, 0.5, 0.1, 0.0]).rho
        0.8
    """
    left, right = finite_vector(similarity, "similarity"), finite_vector(damage, "damage")
    if not len(names) == left.size == right.size:
        raise ValueError(f"There are {len(names)} names, {left.size} similarities and {right.size} damages.")
    if len(set(names)) < len(names):
        raise ValueError("The names of the concepts of an audit must differ.")
    return RankedConcepts(block, tuple(names), left, right)


@dataclass(frozen=True)
class PooledCorrelation:
    """The mean of Spearman's rho over audits. Each block counts alike, and so does each audit within its block.

    Attributes:
        rho: The mean, from -1 to 1; None if no audit has a rho.
        lower: Lower end of the interval.
        upper: Upper end of the interval.
        p_one_sided: p-value against "damage does not rise with similarity in any of these audits".
        audits: Number of audits with a rho.
        blocks: Number of their blocks.
        concepts: Number of their concepts, each audit's counted.
        lowest: The smallest rho of an audit.
        highest: The largest rho of an audit.
        error: Standard error of the mean; 0 for a perfect order.
    """

    rho: float | None
    lower: float | None = None
    upper: float | None = None
    p_one_sided: float | None = None
    audits: int = 0
    blocks: int = 0
    concepts: int = 0
    lowest: float | None = None
    highest: float | None = None
    error: float | None = None


def pooled_spearman(
    audits: Sequence[RankedConcepts], draws: int = 9_999, seed: int = 0, confidence: float = 0.95
) -> PooledCorrelation:
    """The mean of Spearman's rho over `audits`, with a permutation p-value and an interval.

    The interval is Bonett's for an average correlation, with the variance of Bonett and Wright for Spearman's rho: it does not
    assume that the audits share one true rho, and it is about these audits and not about others. Audits of one block depend on
    each other; the covariance of their correlations is the asymptotic one (Olkin and Siotani; Steiger), on ranks.
    The p-value is that of a stratified permutation test: the similarities are permuted within each audit, those of one block
    together. It is exact if the audits of a block have the same concepts.
    Sources: Bonett, Psychological Methods 2008; Bonett and Wright, Psychometrika 2000; Steiger, Psychological Bulletin 1980;
    Good, Permutation Tests, 2000.

    Args:
        audits: The concepts of each audit. Audits without a rho are left out.
        draws: Number of random permutations.
        seed: Seed of the permutations.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The pooled correlation; its `rho` is None if no audit has one.

    Raises:
        ValueError: For no draws, or a confidence outside (0, 1).

    Example:
        >>> audit = ranked_concepts("Van Gogh", "abcde", [0.9, 0.7, 0.5, 0.3, 0.1], [0.4, 0.5, 0.2, 0.1, 0.0])
        >>> round(pooled_spearman([audit]).rho, 2)
        0.9
    """
    if check_count(draws, "draws") == 0:
        raise ValueError("A permutation test needs at least one draw.")
    z = normal_quantile(confidence)
    usable = [audit for audit in audits if audit.rho is not None]
    if not usable:
        return PooledCorrelation(None)
    mean, error = _mean_and_error(usable)
    lower, upper = interval(mean, error, smallest_step(usable), z)
    rhos = [audit.rho for audit in usable if audit.rho is not None]
    return PooledCorrelation(
        mean,
        lower,
        upper,
        _permutation_p_value(usable, draws, seed),
        len(usable),
        len({audit.block for audit in usable}),
        sum(len(audit.names) for audit in usable),
        min(rhos),
        max(rhos),
        error,
    )


def normal_quantile(confidence: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 for 0.95."""
    return float(special.ndtri((1.0 + check_inside(confidence, 0.0, 1.0, "confidence")) / 2.0))


def weights(audits: Sequence[RankedConcepts]) -> Vector:
    """The weight of each audit in the mean (m,): blocks count alike, and audits within a block too."""
    blocks = [audit.block for audit in audits]
    return np.array([1.0 / (len(set(blocks)) * blocks.count(block)) for block in blocks])


def covariance(first: Sequence[RankedConcepts], second: Sequence[RankedConcepts]) -> float:
    """The covariance of the mean correlations of two sources, each over its audits, all of which have a rho."""
    return float(
        sum(
            one_weight * other_weight * _covariance_of(one, other)
            for one, one_weight in zip(first, weights(first), strict=True)
            for other, other_weight in zip(second, weights(second), strict=True)
            if one.block == other.block
        )
    )


def interval(rho: float, error: float, step: float, z: float) -> tuple[float, float]:
    """The interval of a mean correlation on Fisher's scale, `z` standard errors to both sides.

    A rho of ±1 has no error of its own: it is moved inwards by half of `step`, the smallest possible step of the mean.
    """
    edge = 1.0 - step / 2.0
    inside = max(-edge, min(edge, rho))
    reach = z * error / (1.0 - inside**2)
    centre = math.atanh(inside)
    return (-1.0 if rho <= -1.0 else math.tanh(centre - reach)), (1.0 if rho >= 1.0 else math.tanh(centre + reach))


def _mean_and_error(audits: Sequence[RankedConcepts]) -> tuple[float, float]:
    mean = float(sum(weight * (audit.rho or 0.0) for audit, weight in zip(audits, weights(audits), strict=True)))
    return max(-1.0, min(1.0, mean)), math.sqrt(max(0.0, covariance(audits, audits)))


def smallest_step(audits: Sequence[RankedConcepts]) -> float:
    """The smallest possible step of the mean correlation."""
    return min(
        float(weight) * 12.0 / (len(audit.names) * (len(audit.names) ** 2 - 1))
        for audit, weight in zip(audits, weights(audits), strict=True)
    )


def _covariance_of(one: RankedConcepts, other: RankedConcepts) -> float:
    """The covariance of the correlations of two audits (or of two sources in one) over the concepts that both have."""
    errors = _error(one) * _error(other)
    if one is other:
        return errors
    common = sorted(set(one.names) & set(other.names))
    if len(common) < _LEAST:
        return 0.0
    first, second = one.only(common), other.only(common)
    shared = len(common) / math.sqrt(len(one.names) * len(other.names))
    return shared * errors * _correlation_of_correlations(first, second)


def _error(audit: RankedConcepts) -> float:
    """The standard error of one rho after Bonett and Wright. A perfect order counts as one half step from perfect."""
    n = len(audit.names)
    edge = 1.0 - 6.0 / (n * (n * n - 1.0))
    rho = max(-edge, min(edge, audit.rho or 0.0))
    return (1.0 - rho**2) * math.sqrt((1.0 + rho**2 / 2.0) / (n - 3.0))


def _correlation_of_correlations(one: RankedConcepts, other: RankedConcepts) -> float:
    """How far the correlations r(a, b) and r(c, d) vary together, in [-1, 1], from the four variables' ranks on the same concepts.

    The asymptotic covariance of Olkin and Siotani, as in Steiger (1980), divided by its two variances. 0 if it is undefined,
    which lengthens the interval of a difference.
    """
    columns = [average_ranks(side) for side in (one.similarity, one.damage, other.similarity, other.damage)]
    if any(float(np.ptp(column)) == 0.0 for column in columns):
        return 0.0
    between = np.asarray(np.corrcoef(columns))
    ab, ac, ad, bc, bd, cd = (float(between[place]) for place in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)))
    scale = (1.0 - ab**2) * (1.0 - cd**2)
    if scale < 1e-9:
        return 0.0
    shared = (
        (ac - ab * bc) * (bd - bc * cd)
        + (ad - ac * cd) * (bc - ab * ac)
        + (ac - ad * cd) * (bd - ab * ad)
        + (ad - ab * bd) * (bc - bd * cd)
    ) / 2.0
    return float(np.clip(shared / scale, -1.0, 1.0))


def _rho(similarity: Vector, damage: Vector) -> float | None:
    left, right = (ranks - ranks.mean() for ranks in map(average_ranks, (similarity, damage)))
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return max(-1.0, min(1.0, float(left @ right) / scale)) if scale else None


def _standard_ranks(values: Vector) -> Vector | None:
    """Centred ranks of length 1, so that a product of two is their correlation; None if all values are equal."""
    ranks = average_ranks(values)
    centred = ranks - ranks.mean()
    length = float(np.sqrt(centred @ centred))
    return None if length == 0.0 else np.asarray(centred / length, dtype=np.float64)


def _permutation_p_value(audits: Sequence[RankedConcepts], draws: int, seed: int) -> float:
    """The share of permutations with at least the observed mean: similarities permuted within audits, those of a block alike."""
    sides = []
    for audit, weight in zip(audits, weights(audits), strict=True):
        order = sorted(range(len(audit.names)), key=audit.names.__getitem__)  # audits of a block list their concepts alike
        left, right = _standard_ranks(audit.similarity[order]), _standard_ranks(audit.damage[order])
        assert left is not None  # audits without a rho are left out
        assert right is not None
        sides.append((audit.block, sorted(audit.names), weight * left, right))
    observed = sum(float(left @ right) for _, _, left, right in sides)
    concepts = {block: sorted({name for b, names, _, _ in sides if b == block for name in names}) for block, *_ in sides}
    generator, extreme = np.random.default_rng(seed), 0
    for first in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - first)
        keys = {block: generator.random((count, len(names))) for block, names in concepts.items()}
        total = np.zeros(count)
        for block, names, left, right in sides:
            columns = np.searchsorted(concepts[block], names)
            total += left[np.argsort(keys[block][:, columns], axis=1)] @ right
        extreme += int((total >= observed - _TOLERANCE).sum())
    return (1 + extreme) / (1 + draws)
