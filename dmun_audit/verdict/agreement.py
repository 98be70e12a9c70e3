"""Agreement of two who answer yes or no, and what a labelled sample says of the finite set of images that it was drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_count, check_hits, check_inside

_DRAWS = 100_000  # of the posterior of kappa; its quantiles then err by about .002


@dataclass(frozen=True)
class Table:
    """How often two answered alike: both yes, only the first, only the second, neither."""

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        for name in ("both", "first_only", "second_only", "neither"):
            check_count(getattr(self, name), name)

    @property
    def alike(self) -> int:
        """Images on which both gave the same answer."""
        return self.both + self.neither

    @property
    def total(self) -> int:
        """All images that both answered."""
        return self.alike + self.first_only + self.second_only


@dataclass(frozen=True)
class Sampled:
    """A simple random sample without replacement: of `population` images `labelled` ones, `fewest` to `most` of them yes.

    The two counts differ by the images that a person could not tell. Raises ValueError for impossible numbers.
    """

    population: int
    labelled: int
    fewest: int
    most: int

    def __post_init__(self) -> None:
        check_hits(self.labelled, self.population)
        check_hits(self.most, self.labelled)
        check_hits(self.fewest, self.most)


def table_of(first: Sequence[bool], second: Sequence[bool]) -> Table:
    """Count the answers of two to the same images, in the same order. ValueError for lists of different lengths."""
    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    return Table(*(pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))))


def agreement_interval(table: Table, alpha: float = 0.05) -> tuple[float, float]:
    """Two-sided exact interval at 1 - `alpha` on the share of images that both answer alike (Clopper and Pearson 1934).

    For a stratified sample it is conservative: sums of trials with unequal rates vary less than a binomial (Hoeffding 1956).
    """
    counts = (table.alike, table.total, alpha / 2.0)
    return bounds.lower_bound(*counts), bounds.upper_bound(*counts)


def kappa(table: Table) -> float | None:
    """Cohen's kappa (1960): agreement beyond chance, 1 for perfect; None without images, or where both always say the same."""
    if not table.total:
        return None
    value = float(
        _kappa(np.array([table.both, table.first_only, table.second_only, table.neither], dtype=np.float64) / table.total)
    )
    return value if math.isfinite(value) else None


def kappa_interval(table: Table, alpha: float = 0.05) -> tuple[float, float] | None:
    """Approximate two-sided interval at 1 - `alpha` on kappa; None where kappa is.

    Equal tails of its posterior under Jeffreys' prior on the four cells, Dirichlet(½, ½, ½, ½), drawn with a fixed seed,
    and reaching to 1 where all answers are alike (the interval of Brown, Cai and DasGupta 2001, carried to kappa). Unlike the
    large-sample interval of Fleiss, Cohen and Everitt (1969) it has a width where no disagreement was seen.
    """
    alpha = check_inside(alpha, 0.0, 1.0, "alpha")
    if kappa(table) is None:
        return None
    counts = np.array([table.both, table.first_only, table.second_only, table.neither], dtype=np.float64)
    drawn = _kappa(np.random.default_rng(0).dirichlet(counts + 0.5, _DRAWS).T)
    low, high = np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0])
    return float(low), 1.0 if table.alike == table.total else float(high)


def _kappa(shares: np.ndarray) -> np.ndarray:
    """Kappa of shares (4, ...) of the cells: both, first only, second only, neither."""
    both, first, second, neither = shares
    chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((both + neither - chance) / np.where(1.0 - chance > 1e-12, 1.0 - chance, np.nan))


def most_in_population(found: int, labelled: int, population: int, alpha: float = 0.05) -> int:
    """Upper bound at 1 - `alpha` on how many of `population` images show what `found` of `labelled` ones drawn from them show.

    One-sided and exact for sampling without replacement: the largest count under which `found` or fewer have a
    probability above `alpha` (hypergeometric; Buonaccorsi 1987). ValueError for impossible numbers.
    """
    found, labelled, population, alpha = _checked(found, labelled, population, alpha)
    spare = bounds.smallest(lambda more: _at_most(found, labelled, found + more, population) <= alpha, 0, population - labelled)
    return found + spare - 1


def fewest_in_population(found: int, labelled: int, population: int, alpha: float = 0.05) -> int:
    """Lower bound at 1 - `alpha` on how many of `population` images show it; the mirror of `most_in_population`."""
    return population - most_in_population(labelled - found, labelled, population, alpha)


def most_of_strata(strata: Sequence[Sampled], alpha: float = 0.05) -> int:
    """Upper bound at 1 - `alpha` on the count over all strata together: `alpha` is shared by those not labelled whole.

    An image that the person could not tell counts as a yes.
    """
    open_ = max(1, sum(stratum.labelled < stratum.population for stratum in strata))
    return sum(most_in_population(s.most, s.labelled, s.population, alpha / open_) for s in strata)


def fewest_of_strata(strata: Sequence[Sampled], alpha: float = 0.05) -> int:
    """Lower bound at 1 - `alpha` on the count over all strata together; an image that the person could not tell counts as a no."""
    open_ = max(1, sum(stratum.labelled < stratum.population for stratum in strata))
    return sum(fewest_in_population(s.fewest, s.labelled, s.population, alpha / open_) for s in strata)


def estimated_count(strata: Sequence[Sampled]) -> float | None:
    """Estimate of the count over all strata together, each weighted by its population; None where a stratum has no label.

    The mean of the fewest and the most where images could not be told (Horvitz and Thompson 1952).
    """
    if any(s.population and not s.labelled for s in strata):
        return None
    return sum(s.population * (s.fewest + s.most) / (2.0 * s.labelled) for s in strata if s.population)


def labels_needed(population: int, allowed: int, alpha: float = 0.05) -> int | None:
    """Fewest labels, all of them no, that prove at most `allowed` yes among `population` images; None where `allowed` < 0."""
    population = check_count(population, "population")
    if allowed < 0:
        return None
    return bounds.smallest(lambda labelled: most_in_population(0, labelled, population, alpha) <= allowed, 0, population)


def _checked(found: int, labelled: int, population: int, alpha: float) -> tuple[int, int, int, float]:
    labelled, population = check_hits(labelled, population)
    found, labelled = check_hits(found, labelled)
    return found, labelled, population, check_inside(alpha, 0.0, 1.0, "alpha")


def _at_most(found: int, labelled: int, showing: int, population: int) -> float:
    """P(X ≤ found) of a hypergeometric X: `showing` of `population` images show it, `labelled` are drawn. Exact integers."""
    ways = sum(math.comb(showing, k) * math.comb(population - showing, labelled - k) for k in range(found + 1))
    return ways / math.comb(population, labelled)
