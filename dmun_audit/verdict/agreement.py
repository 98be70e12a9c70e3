"""Agreement of two labellers who answer yes or no to the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_count, check_inside

_DRAWS = 100_000  # from the posterior of kappa; the error of its quantiles is about .002


@dataclass(frozen=True)
class ConfusionTable:
    """The answers of two labellers (persons or judges) to the same images.

    Attributes:
        both: Images to which both said yes.
        first_only: Images to which only the first said yes.
        second_only: Images to which only the second said yes.
        neither: Images to which both said no.

    Raises:
        ValueError: For a count that is negative or no whole number.

    Example:
        >>> table = ConfusionTable(both=20, first_only=5, second_only=10, neither=15)
        >>> table.agreeing, table.total
        (35, 50)
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        for name in ("both", "first_only", "second_only", "neither"):
            check_count(getattr(self, name), name)

    @property
    def agreeing(self) -> int:
        """Number of images with the same answer from both."""
        return self.both + self.neither

    @property
    def total(self) -> int:
        """Number of images that both answered."""
        return self.agreeing + self.first_only + self.second_only


def confusion_table(first: Sequence[bool], second: Sequence[bool]) -> ConfusionTable:
    """Count the answers of two labellers to the same images.

    Args:
        first: Answers of the first labeller (n,).
        second: Answers of the second labeller (n,), to the same images in the same order.

    Returns:
        The table of their answers.

    Raises:
        ValueError: For lists of different lengths.

    Example:
        >>> confusion_table([True, True, False], [True, False, False])
        ConfusionTable(both=1, first_only=1, second_only=0, neither=1)
    """
    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    return ConfusionTable(*(pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))))


def agreement_interval(table: ConfusionTable, alpha: float = 0.05) -> tuple[float, float]:
    """Exact two-sided interval on the share of images with the same answer from both.

    Source: Clopper and Pearson, Biometrika 1934. For a stratified sample it is conservative: a sum of trials with unequal
    rates varies less than a binomial (Hoeffding, Annals of Mathematical Statistics 1956).

    Args:
        table: The answers of two labellers.
        alpha: Error rate of the interval, shared by its two ends.

    Returns:
        Lower and upper end, between 0 and 1.

    Raises:
        ValueError: For an error rate out of range.

    Example:
        >>> low, high = agreement_interval(ConfusionTable(20, 5, 10, 15))
        >>> round(low, 3), round(high, 3)
        (0.554, 0.821)
    """
    counts = (table.agreeing, table.total, alpha / 2.0)
    return bounds.lower_bound(*counts), bounds.upper_bound(*counts)


def kappa(table: ConfusionTable) -> float | None:
    """Cohen's kappa: agreement beyond chance, 1 for perfect agreement, 0 for chance.

    Source: Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 1960.

    Args:
        table: The answers of two labellers.

    Returns:
        Kappa; None without images, or if both labellers always give the same single answer.

    Example:
        >>> round(kappa(ConfusionTable(20, 5, 10, 15)), 3)
        0.4
    """
    if not table.total:
        return None
    value = float(_kappa(_cells(table) / table.total))
    return value if math.isfinite(value) else None


def kappa_interval(table: ConfusionTable, alpha: float = 0.05) -> tuple[float, float] | None:
    """Approximate two-sided interval on kappa.

    It has the equal-tailed quantiles of the posterior of kappa under Jeffreys' prior on the four cells,
    Dirichlet(½, ½, ½, ½), drawn with a fixed seed. If all answers agree, it reaches to 1. This is the interval of Brown,
    Cai and DasGupta (Statistical Science 2001) for a rate, applied to kappa. The large-sample interval of Fleiss, Cohen and
    Everitt (Psychological Bulletin 1969) has no width without a disagreement; this one has.

    Args:
        table: The answers of two labellers.
        alpha: Error rate of the interval, between 0 and 1.

    Returns:
        Lower and upper end; None if kappa is None.

    Raises:
        ValueError: For an error rate out of range.

    Example:
        >>> low, high = kappa_interval(ConfusionTable(20, 5, 10, 15))
        >>> 0.1 < low < 0.2, 0.6 < high < 0.7
        (True, True)
    """
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    if kappa(table) is None:
        return None
    drawn = _kappa(np.random.default_rng(0).dirichlet(_cells(table) + 0.5, _DRAWS).T)
    low, high = np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0])
    return float(low), 1.0 if table.agreeing == table.total else float(high)


def _cells(table: ConfusionTable) -> NDArray[np.float64]:
    return np.array([table.both, table.first_only, table.second_only, table.neither], dtype=np.float64)


def _kappa(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa (...,) from the shares (4, ...) of the cells: both, first only, second only, neither."""
    both, first, second, neither = shares
    chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((both + neither - chance) / np.where(1.0 - chance > 1e-12, 1.0 - chance, np.nan))
