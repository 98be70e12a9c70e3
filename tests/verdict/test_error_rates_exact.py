"""Error rates of the fixed-n Bernoulli rules, exactly and for every n from 1 to 1,000; bounds against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from dmun_audit.verdict import bounds, judge_error
from dmun_audit.verdict.claims import rate_at_least, rate_at_most
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.ordering import spearman

TRIALS = np.arange(1, 1001)
SOME = (*range(1, 13), 16, 24, 48, 59, 96, 181, 192, 300, 528, 960, 1000)
RATES = (0.0, 0.001, 0.01, 0.05, 0.5, 1.0)
THRESHOLDS = (0.001, 0.01, 0.03, 0.05, 0.2, 0.5)
LEVELS = [(0.05, 0.05 / 60), (0.025, 0.045)]
ROUNDING = 1e-12


def most_hits_with_at_most(level, rate):
    """For every n of TRIALS the largest k with P(X ≤ k) ≤ `level` under `rate`, from scipy alone; -1 where there is none."""
    quantile = stats.binom.ppf(level + ROUNDING, TRIALS, rate)
    return np.where(stats.binom.cdf(quantile, TRIALS, rate) <= level + ROUNDING, quantile, quantile - 1).astype(int)


@pytest.mark.parametrize(("alpha_pass", "alpha_fail"), LEVELS)
@pytest.mark.parametrize("ceiling", THRESHOLDS)
def test_at_every_number_of_images_a_ceiling_errs_no_more_often_than_allowed(ceiling, alpha_pass, alpha_fail):
    passing = most_hits_with_at_most(alpha_pass, ceiling)
    failing = TRIALS - most_hits_with_at_most(alpha_fail, 1.0 - ceiling)
    for n, last, first in zip(TRIALS.tolist(), passing.tolist(), failing.tolist(), strict=True):
        assert last == n or bounds.upper_bound(last + 1, n, alpha_pass) > ceiling
        assert first == 0 or bounds.lower_bound(first - 1, n, alpha_fail) <= ceiling
    agrees_with_the_rule(lambda k, n: rate_at_most(k, n, ceiling, alpha_pass, alpha_fail), passing, failing)
    for rate in (*RATES, ceiling):
        if rate >= ceiling:
            assert stats.binom.cdf(passing, TRIALS, rate).max() <= alpha_pass + 2 * ROUNDING
        if rate <= ceiling:
            assert stats.binom.sf(failing - 1, TRIALS, rate).max() <= alpha_fail + 2 * ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize(("alpha_pass", "alpha_fail"), LEVELS)
@pytest.mark.parametrize("floor", THRESHOLDS)
def test_at_every_number_of_images_a_floor_errs_no_more_often_than_allowed(floor, alpha_pass, alpha_fail):
    passing = TRIALS - most_hits_with_at_most(alpha_pass, 1.0 - floor)
    failing = most_hits_with_at_most(alpha_fail, floor)
    for n, first, last in zip(TRIALS.tolist(), passing.tolist(), failing.tolist(), strict=True):
        assert first == 0 or bounds.lower_bound(first - 1, n, alpha_pass) < floor
        assert last == n or bounds.upper_bound(last + 1, n, alpha_fail) >= floor
    misses = TRIALS - passing, TRIALS - failing
    agrees_with_the_rule(lambda k, n: rate_at_least(n - k, n, floor, alpha_pass, alpha_fail), *misses)
    for rate in (*RATES, floor):
        if rate <= floor:
            assert stats.binom.sf(passing - 1, TRIALS, rate).max() <= alpha_pass + 2 * ROUNDING
        if rate >= floor:
            assert stats.binom.cdf(failing, TRIALS, rate).max() <= alpha_fail + 2 * ROUNDING


def agrees_with_the_rule(rule, passing, failing):
    """Check that the rule gives PASS, INCONCLUSIVE and FAIL on the sides of the thresholds, in this order of harm.

    INCONCLUSIVE is checked at some n only, because the computation of `needed` is slow.
    """
    for n, last, first in zip(TRIALS.tolist(), passing.tolist(), failing.tolist(), strict=True):
        assert last < first
        assert last < 0 or rule(last, n).verdict == "PASS"
        assert first > n or rule(first, n).verdict == "FAIL"
        if n in SOME:
            assert all(rule(hits, n).verdict == "INCONCLUSIVE" for hits in {last + 1, first - 1} if last < hits < first)


@pytest.mark.parametrize("level", [0.05, 0.025, 0.05 / 60])
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_thresholds_of_plans_are_those_of_scipy(threshold, level):
    allowed, refused = most_hits_with_at_most(level, threshold), most_hits_with_at_most(level, 1.0 - threshold)
    for n in SOME:
        assert bounds.allowed_hits(n, threshold, level) == allowed[n - 1]
        assert bounds.allowed_hits(n, 1.0 - threshold, level) == refused[n - 1]


TRUE_RATES = (0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 1.0)


@pytest.mark.parametrize(("trials", "shown"), [(1, 1), (24, 16), (59, 48), (192, 48)])
def test_a_rate_corrected_upwards_for_the_judge_is_too_low_no_more_often_than_allowed(trials, shown):
    alpha, hits, seen = 0.05, np.arange(trials + 1), np.arange(shown + 1)
    upper = np.array([[judge_error.true_rate_upper(int(k), trials, int(s), shown, alpha) for s in seen] for k in hits])
    for sensitivity in (0.05, 0.5, 0.8, 0.95, 1.0):
        of_judge = stats.binom.pmf(seen, shown, sensitivity)
        for true_rate in TRUE_RATES:
            for false_rate in (0.0, 0.02, 0.3):
                judged = true_rate * sensitivity + (1.0 - true_rate) * false_rate
                missed = stats.binom.pmf(hits, trials, judged) @ (upper < true_rate) @ of_judge
                assert missed <= alpha + ROUNDING


@pytest.mark.parametrize(("trials", "clean"), [(1, 1), (24, 16), (59, 72), (192, 72)])
def test_a_rate_corrected_downwards_for_the_judge_is_too_high_no_more_often_than_allowed(trials, clean):
    alpha, hits, false_hits = 0.05, np.arange(trials + 1), np.arange(clean + 1)
    lower = np.array([[judge_error.true_rate_lower(int(k), trials, int(f), clean, alpha) for f in false_hits] for k in hits])
    for false_rate in (0.0, 0.01, 0.05, 0.3, 1.0):
        of_judge = stats.binom.pmf(false_hits, clean, false_rate)
        for true_rate in TRUE_RATES:
            for sensitivity in (0.5, 0.95, 1.0):
                judged = true_rate * sensitivity + (1.0 - true_rate) * false_rate
                missed = stats.binom.pmf(hits, trials, judged) @ (lower > true_rate) @ of_judge
                assert missed <= alpha + ROUNDING


def test_bounds_are_those_of_scipy_and_statsmodels():
    for trials in (1, 2, 7, 59, 192, 1000):
        for hits in sorted({0, 1, trials // 10, trials // 2, trials - 1, trials}):
            for alpha in (0.2, 0.05, 0.05 / 60):
                ours = bounds.lower_bound(hits, trials, alpha), bounds.upper_bound(hits, trials, alpha)
                test = [stats.binomtest(hits, trials, alternative=side) for side in ("greater", "less")]
                scipys = [result.proportion_ci(1.0 - alpha, method="exact") for result in test]
                assert ours == pytest.approx((scipys[0].low, scipys[1].high), abs=1e-9)
                assert ours == pytest.approx(proportion_confint(hits, trials, alpha=2.0 * alpha, method="beta"), abs=1e-12)
                assert hits == trials or ours[1] == pytest.approx(stats.beta.ppf(1.0 - alpha, hits + 1, trials - hits), abs=1e-12)
                assert hits == 0 or ours[0] == pytest.approx(stats.beta.ppf(alpha, hits, trials - hits + 1), abs=1e-12)


@pytest.mark.slow
def test_adjusted_p_values_are_those_of_statsmodels():
    generator = np.random.default_rng(7)
    for size in (1, 2, 5, 60):
        p_values = generator.random(size) ** 3
        p_values[: size // 3] = p_values[0]  # ties
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_rank_correlation_is_that_of_scipy():
    generator = np.random.default_rng(8)
    for size in (3, 10, 40):
        for levels in (3, 1000):  # with many ties and with none or few
            left, right = generator.integers(0, levels, (2, size)).astype(float)
            left[0], right[0] = -1.0, -1.0
            left[1], right[1] = levels, -0.5
            assert spearman(left, right, draws=1).rho == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)
