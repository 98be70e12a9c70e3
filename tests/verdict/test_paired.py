"""Non-inferiority on pairs: exact error rates by enumeration, the promised power, and the betting bound's level."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmun_audit.verdict import bounded_mean, paired
from dmun_audit.verdict.claims import harm_only

ORDER = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2}
UNHURRIED = settings(database=None, deadline=None, derandomize=True, max_examples=60)


@pytest.mark.parametrize("pairs", [4, 16, 28])
@pytest.mark.parametrize("margin", [0.0, 0.15, 0.4])
def test_the_paired_rule_errs_no_more_often_than_allowed(pairs, margin):
    alpha_pass, alpha_fail = 0.05, 0.02
    tables = [(lost, won) for lost in range(pairs + 1) for won in range(pairs + 1 - lost)]
    counts = np.array([(lost, won, pairs - lost - won) for lost, won in tables])
    passes = np.array([paired.loss_upper_bound(*table, pairs, alpha_pass) <= margin for table in tables])
    fails = np.array([paired.loss_lower_bound(*table, pairs, alpha_fail) > margin for table in tables])
    for p01 in np.linspace(0.0, (1.0 - margin) / 2.0, 15):
        p10 = min(margin + p01, 1.0 - p01)
        chances = stats.multinomial.pmf(counts, pairs, [p10, p01, max(0.0, 1.0 - p10 - p01)])
        assert chances.sum() == pytest.approx(1.0)
        assert chances[passes].sum() <= alpha_pass + 1e-9
        assert chances[fails].sum() <= alpha_fail + 1e-9


@pytest.mark.parametrize(("pairs", "margin", "losses"), [(32, 0.25, 2), (160, 0.15, 15), (160, 0.05, 2), (3200, 0.05, 135)])
def test_the_losses_that_still_pass_are_as_documented(pairs, margin, losses):
    assert paired.allowed_losses(pairs, margin) == losses
    assert paired.accuracy_loss_at_most(losses, 0, pairs, margin).verdict == "PASS"
    assert paired.accuracy_loss_at_most(losses + 1, 0, pairs, margin).verdict != "PASS"


@pytest.mark.parametrize(("alpha_fail", "losses"), [(0.05, 11), (0.005, 14), (0.05 / 30, 15), (0.05 / 60, 16)])
def test_the_losses_that_prove_harm_are_as_documented(alpha_fail, losses):
    decide = [paired.accuracy_loss_at_most(k, 0, 16, 0.15, alpha_fail=alpha_fail) for k in (losses - 1, losses)]
    assert [harm_only(decision).verdict for decision in decide] == ["NO HARM PROVEN", "FAIL"]


def test_too_few_pairs_cannot_prove_harm_and_say_so():
    assert paired.accuracy_loss_at_most(15, 1, 16, 0.15, alpha_fail=0.05 / 30).verdict == "INCONCLUSIVE"
    few = paired.accuracy_loss_at_most(1, 0, 4, 0.15, alpha_fail=0.05 / 30)
    assert not few.refutable
    assert harm_only(few).verdict == "INCONCLUSIVE"


def test_gains_make_up_for_losses_and_equal_change_is_no_harm():
    assert paired.accuracy_loss_at_most(16, 16, 160, 0.15).verdict == "PASS"
    assert paired.accuracy_loss_at_most(16, 0, 160, 0.15).verdict == "INCONCLUSIVE"
    assert paired.accuracy_loss_at_most(70, 0, 160, 0.15).verdict == "FAIL"


@given(st.integers(1, 100), st.data(), st.floats(0.0, 0.9), st.floats(0.0005, 0.2))
@UNHURRIED
def test_more_losses_never_turn_a_pair_claim_safer(pairs, data, margin, alpha):
    gains = data.draw(st.integers(0, pairs))
    steps = sorted({0, (pairs - gains) // 3, (pairs - gains) // 2, pairs - gains})
    decisions = [paired.accuracy_loss_at_most(lost, gains, pairs, margin, alpha, alpha) for lost in steps]
    assert [ORDER[d.verdict] for d in decisions] == sorted(ORDER[d.verdict] for d in decisions)
    assert all(d.lower <= d.estimate <= d.upper for d in decisions)
    assert all((d.verdict == "FAIL") == (d.p_refuted < alpha) for d in decisions)


def test_the_p_value_is_where_the_bound_meets_the_margin():
    p = paired.loss_p_value(70, 3, 160, 0.15)
    assert 0.0 < p < 0.05
    assert paired.loss_lower_bound(70, 3, 160, p) == pytest.approx(0.15, abs=1e-9)
    assert paired.loss_p_value(20, 0, 160, 0.15) == 1.0


def test_an_undecided_pair_claim_says_how_many_pairs_would_do():
    undecided = paired.accuracy_loss_at_most(8, 2, 64, 0.15)
    assert undecided.verdict == "INCONCLUSIVE"
    assert undecided.needed > 64
    draws = np.random.default_rng(5).multinomial(undecided.needed, [8.5 / 65, 2 / 64, 1 - 8.5 / 65 - 2 / 64], 400)
    passed = [paired.loss_upper_bound(lost, won, undecided.needed, 0.025) <= 0.15 for lost, won, _ in draws.tolist()]
    assert np.mean(passed) >= 0.95
    assert paired.accuracy_loss_at_most(20, 0, 64, 0.15).needed is None


@pytest.mark.parametrize("arguments", [(3, 2, 4, 0.1), (-1, 0, 4, 0.1), (1, 0, 4, 1.0), (1, 0, 4, float("nan")), (1, 0, 4, -0.1)])
def test_impossible_pairs_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must|do not fit"):
        paired.accuracy_loss_at_most(*arguments)


def unequal_concepts(generator, repeats):
    """Clipped differences of ten concepts in order, one of them ruined and the others a little better, mean 0."""
    means = np.full(10, -0.02)
    means[0] = 0.18
    noise = generator.choice([-0.02, 0.02], (repeats, 160))
    return np.repeat(means, 16) + noise


@pytest.mark.parametrize(
    "sample",
    [
        lambda g, repeats: g.choice([-0.2, 0.2], (repeats, 60)),  # as wide as the clip allows
        lambda g, repeats: np.where(g.random((repeats, 60)) < 0.1, 0.18, -0.02),  # rare losses that a sample can miss
        lambda g, repeats: -np.where(g.random((repeats, 60)) < 0.1, 0.18, -0.02),
        lambda g, repeats: g.normal(0.0, 0.03, (repeats, 60)).clip(-0.2, 0.2),
        unequal_concepts,
    ],
    ids=["wide", "rare losses", "rare gains", "normal", "unequal concepts in order"],
)
def test_the_betting_bound_keeps_its_level(sample):
    alpha, repeats = 0.1, 500
    rows = (sample(np.random.default_rng(11), repeats) + 0.2) / 0.4
    goal = np.log(1.0 / alpha)  # every sample above has a mean difference of exactly 0, which is ½ on the unit scale
    above = sum(bounded_mean.log_capital(row, 0.5) >= goal for row in rows)
    below = sum(bounded_mean.log_capital(1.0 - row, 0.5) >= goal for row in rows)
    limit = stats.binom.ppf(0.999, repeats, alpha)
    assert max(above, below) <= limit


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
def test_the_capital_is_a_fair_game(mean):
    rows = [np.repeat([1.0, 0.0], [ones, 9 - ones]) for ones in range(10)]
    capital = np.exp([bounded_mean.log_capital(row, mean) for row in rows])
    assert capital @ stats.binom.pmf(np.arange(10), 9, mean) == pytest.approx(1.0)
    unequal = stats.poisson_binom([mean - 0.1] * 4 + [mean] + [mean + 0.1] * 4).pmf(np.arange(10))
    assert capital @ unequal < 1.0


def test_the_betting_bound_is_where_the_capital_reaches_its_goal():
    values = np.random.default_rng(3).beta(2.0, 5.0, 80)
    low, high = bounded_mean.mean_lower_bound(values, 0.05), bounded_mean.mean_upper_bound(values, 0.05)
    assert low < values.mean() < high
    assert bounded_mean.log_capital(values, low) == pytest.approx(np.log(20.0))
    assert bounded_mean.log_capital(1.0 - values, 1.0 - high) == pytest.approx(np.log(20.0))
    shuffled = np.random.default_rng(4).permutation(values)
    assert bounded_mean.mean_lower_bound(shuffled, 0.05) == pytest.approx(low, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_betting_bound_at_the_edges(value):
    values = np.full(50, value)
    assert bounded_mean.mean_lower_bound(values, 0.05) <= value <= bounded_mean.mean_upper_bound(values, 0.05)
    assert bounded_mean.mean_upper_bound(values, 0.05) - bounded_mean.mean_lower_bound(values, 0.05) < 0.2


def test_the_betting_bound_is_tighter_than_empirical_bernstein():
    differences = np.random.default_rng(8).normal(0.0, 0.03, 160)
    decision = paired.mean_difference_at_most(differences, 0.05)
    logarithm = np.log(2 / 0.05)
    bernstein = np.sqrt(2 * differences.var(ddof=1) * logarithm / 160) + 7 * 0.4 * logarithm / (3 * 159)
    assert decision.upper - decision.estimate < bernstein / 2


def test_score_differences_are_decided_in_their_own_unit():
    generator = np.random.default_rng(2)
    assert paired.mean_difference_at_most(generator.normal(0.0, 0.03, 160), 0.02).verdict == "PASS"
    assert paired.mean_difference_at_most(generator.normal(0.06, 0.03, 160), 0.02).verdict == "FAIL"
    assert paired.mean_difference_at_most(generator.normal(0.0, 0.03, 4), 0.02).verdict == "INCONCLUSIVE"


def test_one_wild_score_is_clipped():
    tame, wild = np.zeros(200), np.zeros(200)
    wild[0] = 50.0
    assert paired.mean_difference_at_most(wild, 0.02).estimate == pytest.approx(0.2 / 200)
    assert paired.mean_difference_at_most(wild, 0.02).verdict == paired.mean_difference_at_most(tame, 0.02).verdict


@given(st.lists(st.floats(-1.0, 1.0), max_size=40), st.floats(-0.1, 0.1), st.floats(0.001, 0.2))
@UNHURRIED
def test_a_mean_decision_is_consistent(differences, margin, alpha):
    decision = paired.mean_difference_at_most(differences, margin, alpha, alpha)
    worse = paired.mean_difference_at_most(np.asarray(differences) + 0.05, margin, alpha, alpha)
    assert -0.2 - 1e-12 <= decision.lower <= decision.upper <= 0.2 + 1e-12
    assert ORDER[decision.verdict] <= ORDER[worse.verdict]
    assert decision.p_refuted <= alpha * (1 + 1e-6) or decision.verdict != "FAIL"
    for value in dataclasses.asdict(decision).values():
        assert value is None or value == () or isinstance(value, StrEnum) or type(value) in (int, float, bool)


@pytest.mark.slow
def test_an_undecided_mean_says_how_many_pairs_would_do():
    generator = np.random.default_rng(6)
    seen = generator.normal(0.0, 0.03, 16)
    undecided = paired.mean_difference_at_most(seen, 0.02)
    assert undecided.verdict == "INCONCLUSIVE"
    assert undecided.needed > 16
    again = generator.choice(seen, (300, undecided.needed))
    passed = [paired.mean_difference_at_most(row, 0.02, 0.025).verdict == "PASS" for row in again]
    assert np.mean(passed) >= 0.9
    assert paired.mean_difference_at_most(np.full(5, 0.03), 0.02).needed is None


def test_a_mean_of_nothing_proves_nothing():
    nothing = paired.mean_difference_at_most([], 0.02)
    assert (nothing.verdict, nothing.estimate, nothing.trials) == ("INCONCLUSIVE", None, 0)
    assert harm_only(nothing).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("differences", "margin", "clip"),
    [
        ([0.1, float("nan")], 0.02, 0.2),
        ([[0.1]], 0.02, 0.2),
        ([0.1], 0.2, 0.2),
        ([0.1], float("nan"), 0.2),
        ([0.1], 0.02, -1.0),
    ],
)
def test_impossible_differences_are_refused(differences, margin, clip):
    with pytest.raises(ValueError, match="must"):
        paired.mean_difference_at_most(differences, margin, clip=clip)
