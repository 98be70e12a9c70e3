"""Exact bounds on the number of positive images in a finite set, from a labelled random sample of the set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_count, check_hits, check_inside


@dataclass(frozen=True)
class StratumSample:
    """A simple random sample without replacement from one stratum of images, and its labels.

    Attributes:
        population: Number of images in the stratum.
        labelled: Number of images in the sample.
        positives: Number of images in the sample that were labelled yes.
        unsure: Number of images in the sample that the person could not decide.

    Raises:
        ValueError: For counts that cannot be.
    """

    population: int
    labelled: int
    positives: int
    unsure: int = 0

    def __post_init__(self) -> None:
        check_hits(self.labelled, self.population)
        check_count(self.positives, "positives")
        check_hits(self.positives + check_count(self.unsure, "unsure"), self.labelled)

    @property
    def complete(self) -> bool:
        """Whether every image of the stratum is labelled."""
        return self.labelled == self.population


def count_upper_bound(positives: int, labelled: int, population: int, alpha: float = 0.05) -> int:
    """Exact upper bound on the number of positive images in a finite population, from a random sample of it.

    Guarantee: the true number is above the bound with a probability of at most `alpha`. It is the largest number at which
    `positives` or fewer in the sample have a probability above `alpha`, under sampling without replacement (hypergeometric;
    Buonaccorsi, The American Statistician 1987).

    Args:
        positives: Images in the sample that were labelled yes.
        labelled: Images in the sample.
        population: Images in the population.
        alpha: Error rate, between 0 and 1.

    Returns:
        The largest number of positive images.

    Raises:
        ValueError: For counts or an error rate that cannot be.

    Example:
        >>> count_upper_bound(0, labelled=20, population=60)
        6
    """
    positives, labelled, population, alpha = _checked(positives, labelled, population, alpha)
    more = bounds.smallest(
        lambda more: _at_most_probability(positives, labelled, positives + more, population) <= alpha, 0, population - labelled
    )
    return positives + more - 1


def count_lower_bound(positives: int, labelled: int, population: int, alpha: float = 0.05) -> int:
    """Exact lower bound on the number of positive images in a finite population; the mirror of `count_upper_bound`.

    Args:
        positives: Images in the sample that were labelled yes.
        labelled: Images in the sample.
        population: Images in the population.
        alpha: Error rate, between 0 and 1.

    Returns:
        The smallest number of positive images.

    Raises:
        ValueError: For counts or an error rate that cannot be.

    Example:
        >>> count_lower_bound(20, labelled=20, population=60)
        54
    """
    return population - count_upper_bound(labelled - positives, labelled, population, alpha)


def strata_upper_bound(strata: Sequence[StratumSample], alpha: float = 0.05) -> int:
    """Upper bound on the number of positive images in all strata together; an unsure label counts as a yes.

    The strata that are not completely labelled share the error rate `alpha` equally.
    """
    level = _level_of_each(strata, alpha)
    return sum(count_upper_bound(s.positives + s.unsure, s.labelled, s.population, level) for s in strata)


def strata_lower_bound(strata: Sequence[StratumSample], alpha: float = 0.05) -> int:
    """Lower bound on the number of positive images in all strata together; an unsure label counts as a no.

    The strata that are not completely labelled share the error rate `alpha` equally.
    """
    level = _level_of_each(strata, alpha)
    return sum(count_lower_bound(s.positives, s.labelled, s.population, level) for s in strata)


def strata_estimate(strata: Sequence[StratumSample]) -> float | None:
    """Estimate of the number of positive images in all strata together; None if a stratum has no label.

    Every stratum has the weight of its population (Horvitz and Thompson, JASA 1952). An unsure label counts as half a yes.
    """
    if any(s.population and not s.labelled for s in strata):
        return None
    return sum(s.population * (2 * s.positives + s.unsure) / (2.0 * s.labelled) for s in strata if s.population)


def labels_needed(population: int, allowed: int, alpha: float = 0.05) -> int | None:
    """The smallest sample that proves "at most `allowed` images of the population are positive" if every label is no.

    Args:
        population: Images in the population.
        allowed: The limit of the claim.
        alpha: Error rate, between 0 and 1.

    Returns:
        The number of labels; None if `allowed` is negative.

    Raises:
        ValueError: For counts or an error rate that cannot be.

    Example:
        >>> labels_needed(192, allowed=4)
        86
    """
    population = check_count(population, "population")
    if allowed < 0:
        return None
    return bounds.smallest(lambda labelled: count_upper_bound(0, labelled, population, alpha) <= allowed, 0, population)


def _level_of_each(strata: Sequence[StratumSample], alpha: float) -> float:
    return alpha / max(1, sum(not stratum.complete for stratum in strata))


def _checked(positives: int, labelled: int, population: int, alpha: float) -> tuple[int, int, int, float]:
    labelled, population = check_hits(labelled, population)
    positives, labelled = check_hits(positives, labelled)
    return positives, labelled, population, check_inside(alpha, 0.0, 1.0, "alpha")


def _at_most_probability(positives: int, labelled: int, positive_images: int, population: int) -> float:
    """P(X ≤ positives) for a hypergeometric X: `labelled` of `population` images are drawn, `positive_images` are positive.

    Computed with exact integers.
    """
    ways = sum(
        math.comb(positive_images, k) * math.comb(population - positive_images, labelled - k) for k in range(positives + 1)
    )
    return ways / math.comb(population, labelled)
