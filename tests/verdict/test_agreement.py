"""Agreement and what a labelled sample says of the images it was drawn from: against scipy, by hand, by enumeration."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dmun_audit.verdict.agreement import ConfusionTable, agreement_interval, confusion_table, kappa, kappa_interval
from dmun_audit.verdict.finite_population import (
    StratumSample,
    count_lower_bound,
    count_upper_bound,
    labels_needed,
    strata_estimate,
    strata_lower_bound,
    strata_upper_bound,
)

SIZES = [(1, 1), (7, 3), (24, 5), (24, 24), (60, 20), (192, 10), (960, 24)]


@pytest.mark.parametrize(("population", "labelled"), SIZES)
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_bounds_are_the_counts_that_the_hypergeometric_of_scipy_does_not_reject(population, labelled, alpha):
    for positives in range(labelled + 1):
        counts = np.arange(positives, population - (labelled - positives) + 1)
        below = counts[stats.hypergeom.cdf(positives, population, counts, labelled) > alpha]
        above = counts[stats.hypergeom.sf(positives - 1, population, counts, labelled) > alpha]
        assert count_upper_bound(positives, labelled, population, alpha) == below.max()
        assert count_lower_bound(positives, labelled, population, alpha) == above.min()


@pytest.mark.parametrize(("population", "labelled"), [(24, 5), (31, 12), (60, 20)])
def test_each_bound_errs_at_most_as_often_as_it_says_whatever_the_truth(population, labelled):
    alpha = 0.05
    positives = np.arange(labelled + 1)
    most = np.array([count_upper_bound(x, labelled, population, alpha) for x in range(labelled + 1)])
    fewest = np.array([count_lower_bound(x, labelled, population, alpha) for x in range(labelled + 1)])
    for truth in range(population + 1):
        chances = stats.hypergeom.pmf(positives, population, truth, labelled)
        assert chances[most < truth].sum() <= alpha
        assert chances[fewest > truth].sum() <= alpha


def test_bounds_of_two_strata_hold_together():
    sizes, alpha = ((9, 4), (12, 6)), 0.1
    for truths in product(range(0, 10, 3), range(0, 13, 3)):
        wrong = 0.0
        for positives in product(range(5), range(7)):
            chance = math.prod(
                float(stats.hypergeom.pmf(x, n, m, k)) for x, m, (n, k) in zip(positives, truths, sizes, strict=True)
            )
            if chance > 0:
                strata = [StratumSample(n, k, x) for x, (n, k) in zip(positives, sizes, strict=True)]
                wrong += chance * (strata_upper_bound(strata, alpha) < sum(truths))
        assert wrong <= alpha


def test_a_stratum_that_was_labelled_whole_is_known_and_takes_no_share_of_the_error():
    whole, part = StratumSample(10, 10, 3), StratumSample(24, 8, 0)
    assert strata_upper_bound([whole], 0.05) == strata_lower_bound([whole], 0.05) == 3
    assert strata_upper_bound([whole, part], 0.05) == 3 + count_upper_bound(0, 8, 24, 0.05)


def test_an_image_that_could_not_be_told_counts_against_either_bound():
    decided, undecided = StratumSample(40, 10, 2), StratumSample(40, 10, 2, unsure=3)
    assert strata_upper_bound([undecided]) == count_upper_bound(5, 10, 40) > strata_upper_bound([decided])
    assert strata_lower_bound([undecided]) == strata_lower_bound([decided])


def test_estimates_weigh_every_stratum_by_its_images():
    assert strata_estimate([StratumSample(100, 10, 1), StratumSample(8, 4, 2), StratumSample(0, 0, 0)]) == pytest.approx(10 + 4)
    assert strata_estimate([StratumSample(100, 10, 0, unsure=2)]) == pytest.approx(10)
    assert strata_estimate([StratumSample(100, 0, 0)]) is None


@given(st.integers(1, 80), st.data())
def test_seeing_the_target_once_more_never_lowers_a_bound(population, data):
    labelled = data.draw(st.integers(1, population))
    positives = data.draw(st.integers(0, labelled - 1))
    for bound in (count_upper_bound, count_lower_bound):
        assert bound(positives, labelled, population) <= bound(positives + 1, labelled, population)


@pytest.mark.parametrize(("population", "allowed"), [(24, 1), (192, 4), (528, 9), (10, 10), (10, 0)])
def test_labels_needed_are_enough_and_one_fewer_is_not(population, allowed):
    needed = labels_needed(population, allowed)
    assert count_upper_bound(0, needed, population) <= allowed
    assert needed == 0 or count_upper_bound(0, needed - 1, population) > allowed


def test_no_number_of_labels_makes_room_where_there_is_none():
    assert labels_needed(24, -1) is None


def test_kappa_is_what_it_is_by_hand():
    assert kappa(ConfusionTable(20, 5, 10, 15)) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert kappa(ConfusionTable(45, 15, 25, 15)) == pytest.approx((0.60 - 0.54) / (1 - 0.54))
    assert kappa(ConfusionTable(0, 10, 10, 0)) == pytest.approx(-1)
    assert kappa(ConfusionTable(0, 0, 0, 40)) is None
    assert kappa(ConfusionTable(0, 0, 0, 0)) is None


@pytest.mark.parametrize("counts", [(400, 50, 60, 490), (900, 200, 100, 800), (150, 80, 40, 1200)])
def test_with_many_images_the_interval_of_kappa_is_the_large_sample_one(counts):
    low, high = kappa_interval(ConfusionTable(*counts))
    value, error = _fleiss_cohen_everitt(*counts)
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.008)


def _fleiss_cohen_everitt(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Kappa and its standard error (Psychological Bulletin 72, 1969)."""
    n = a + b + c + d
    shares = [[a / n, b / n], [c / n, d / n]]
    rows, columns = [sum(row) for row in shares], [shares[0][i] + shares[1][i] for i in range(2)]
    seen, chance = shares[0][0] + shares[1][1], sum(rows[i] * columns[i] for i in range(2))
    value = (seen - chance) / (1 - chance)
    first = sum(shares[i][i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in range(2))
    second = (1 - value) ** 2 * sum(shares[i][1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in range(2))
    third = (value - chance * (1 - value)) ** 2
    return value, math.sqrt((first + second - third) / n) / (1 - chance)


def test_perfect_agreement_of_few_images_proves_little():
    low, high = kappa_interval(ConfusionTable(10, 0, 0, 10))
    assert 0.6 < low < 0.9
    assert high == 1
    assert kappa_interval(ConfusionTable(3, 0, 0, 3))[0] < low < kappa_interval(ConfusionTable(50, 0, 0, 50))[0]
    assert kappa_interval(ConfusionTable(5, 0, 0, 0)) is None


def test_the_interval_of_the_share_is_that_of_clopper_and_pearson():
    exact = stats.binomtest(37, 40).proportion_ci(0.95, "exact")
    assert agreement_interval(ConfusionTable(17, 1, 2, 20)) == pytest.approx((exact.low, exact.high))


def test_answers_are_counted_into_their_cells():
    assert confusion_table([True, True, False, False, False], [True, False, True, False, False]) == ConfusionTable(1, 1, 1, 2)
    with pytest.raises(ValueError, match="argument 2"):
        confusion_table([True], [])


@pytest.mark.parametrize("numbers", [(5, 6, 0, 0), (5, 3, 0, 4), (5, 3, 2, 2), (5, 3, 2, -1), (5, 3, -1, 1), (-1, 0, 0, 0)])
def test_impossible_samples_are_refused(numbers):
    with pytest.raises(ValueError, match=r"more hits|negative"):
        StratumSample(*numbers)
