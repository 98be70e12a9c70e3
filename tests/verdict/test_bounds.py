"""The exact bounds against their definition, other software, and the sample sizes of the built-in policies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmun_audit.verdict import bounds


@pytest.mark.parametrize(("trials", "bound"), [(10, 0.259), (30, 0.095), (59, 0.0495)])
def test_zero_hits_still_allow_a_rate(trials, bound):
    assert bounds.upper_bound(0, trials) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 60])
@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (1, 24), (4, 192), (12, 16), (527, 528), (16, 16)])
def test_bounds_agree_with_scipy(hits, trials, alpha):
    fewer = stats.binomtest(hits, trials, alternative="less").proportion_ci(1 - alpha, "exact")
    more = stats.binomtest(hits, trials, alternative="greater").proportion_ci(1 - alpha, "exact")
    assert bounds.upper_bound(hits, trials, alpha) == pytest.approx(fewer.high, abs=1e-10)
    assert bounds.lower_bound(hits, trials, alpha) == pytest.approx(more.low, abs=1e-10)


@pytest.mark.parametrize(("hits", "trials", "rate"), [(0, 9, 0.3), (3, 9, 0.3), (9, 9, 0.3), (40, 528, 0.05)])
def test_tails_agree_with_scipy(hits, trials, rate):
    assert bounds.at_most_probability(hits, trials, rate) == pytest.approx(stats.binom.cdf(hits, trials, rate))
    assert bounds.at_least_probability(hits, trials, rate) == pytest.approx(stats.binom.sf(hits - 1, trials, rate))


def test_tiny_error_rates_keep_their_precision():
    bound = bounds.lower_bound(30, 100, 1e-12)
    assert stats.binom.sf(29, 100, bound) == pytest.approx(1e-12, rel=1e-9)


def test_no_trials_say_nothing():
    assert (bounds.lower_bound(0, 0), bounds.upper_bound(0, 0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("trials", "ceiling", "hits"),
    [(24, 0.2, 1), (192, 0.05, 4), (528, 0.03, 9), (181, 0.05, 4), (58, 0.05, -1), (59, 0.05, 0)],
)
def test_allowed_hits_of_the_policies(trials, ceiling, hits):
    assert bounds.allowed_hits(trials, ceiling) == hits


@given(st.integers(0, 400), st.floats(0.01, 0.99), st.floats(0.001, 0.4))
@settings(database=None, deadline=None, derandomize=True)
def test_allowed_hits_are_the_edge_of_their_bound(trials, rate, alpha):
    allowed = bounds.allowed_hits(trials, rate, alpha)
    assert allowed == -1 or bounds.upper_bound(allowed, trials, alpha) <= rate
    assert allowed < trials
    assert bounds.upper_bound(allowed + 1, trials, alpha) > rate


def test_59_clean_images_are_rare_at_a_judged_rate_of_one_percent():
    assert bounds.at_most_probability(0, 59, 0.01) == pytest.approx(0.5527, abs=1e-4)
    assert bounds.sample_size(0.05, 0.01) == 181


@pytest.mark.parametrize(("ceiling", "rate", "power"), [(0.05, 0.01, 0.95), (0.2, 0.08, 0.9), (0.5, 0.3, 0.8), (0.1, 0.0, 0.99)])
def test_sample_size_is_the_first_with_enough_power(ceiling, rate, power):
    def power_at(n: int) -> float:
        allowed = bounds.allowed_hits(n, ceiling)
        return float(stats.binom.cdf(allowed, n, rate)) if allowed >= 0 else 0.0

    n = bounds.sample_size(ceiling, rate, power=power)
    assert n is not None
    assert power_at(n) >= power
    assert max(power_at(fewer) for fewer in range(1, n)) < power


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.0499])
def test_no_sample_size_at_or_next_to_the_ceiling(rate):
    assert bounds.sample_size(0.05, rate) is None


def test_sample_size_stops_at_the_most_images_asked_for():
    assert bounds.sample_size(0.05, 0.01, most=181) == 181
    assert bounds.sample_size(0.05, 0.01, most=180) is None


@pytest.mark.parametrize("probability", [0.025, 0.5, 0.975])
@pytest.mark.parametrize("rate", [0.0, 0.07, 0.6, 1.0])
def test_quantile_agrees_with_scipy(probability, rate):
    assert bounds.quantile(probability, 160, rate) == stats.binom.ppf(probability, 160, rate)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bounds.upper_bound(5, 4),
        lambda: bounds.upper_bound(-1, 4),
        lambda: bounds.lower_bound(1.5, 4),
        lambda: bounds.lower_bound(float("nan"), 4),
        lambda: bounds.upper_bound(1, 4, 0.0),
        lambda: bounds.upper_bound(1, 4, float("nan")),
        lambda: bounds.allowed_hits(10, 1.0),
        lambda: bounds.sample_size(0.05, float("nan")),
        lambda: bounds.sample_size(0.05, -0.01),
        lambda: bounds.sample_size(0.05, 0.01, power=1.0),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(ValueError, match=r"must|cannot"):
        call()
