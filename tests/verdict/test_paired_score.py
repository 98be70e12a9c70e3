"""The exact score test of paired losses: its order, its certified search, its size, its power, and where its proof ends."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from dmun_audit.verdict import nuisance, paired, paired_score

UNHURRIED = settings(database=None, deadline=None, derandomize=True, max_examples=25)


def tables(pairs):
    return [(lost, won) for lost in range(pairs + 1) for won in range(pairs + 1 - lost)]


def chances(pairs, p10, p01):
    """Trinomial probabilities of `tables(pairs)`."""
    counts = np.array([(lost, won, pairs - lost - won) for lost, won in tables(pairs)])
    return stats.multinomial.pmf(counts, pairs, [p10, p01, max(0.0, 1.0 - p10 - p01)])


def on_the_line(margin, points):
    for changed in np.linspace(0.0, 1.0, points) ** 2:
        fewest = (1.0 - abs(margin)) / 2.0 * changed
        yield fewest + max(margin, 0.0), fewest + max(-margin, 0.0)


def score_of(lost, won, pairs, margin):
    """Tango's statistic with the nuisance parameter from maximising the likelihood, not from the quadratic equation."""

    def unlikely(p01):
        return -stats.multinomial.logpmf([lost, won, pairs - lost - won], pairs, [p01 + margin, p01, 1.0 - 2.0 * p01 - margin])

    low, high = max(0.0, -margin), (1.0 - margin) / 2.0
    result = optimize.minimize_scalar(unlikely, bounds=(low + 1e-12, high - 1e-12), method="bounded", options={"xatol": 1e-11})
    return (lost - won - pairs * margin) / np.sqrt(pairs * (2.0 * result.x + margin - margin**2))


@pytest.mark.parametrize("margin", [-0.4, -0.05, 0.05, 0.3])
def test_the_statistic_is_the_score_at_the_constrained_likelihoods_peak(margin):
    for lost, won, pairs in [(3, 1, 12), (1, 5, 12), (7, 4, 20), (2, 9, 40), (30, 2, 160)]:
        ours = paired_score.score_statistic(np.float64(lost), np.float64(won), pairs, margin)
        assert float(ours) == pytest.approx(score_of(lost, won, pairs, margin), rel=1e-4)


@pytest.mark.parametrize("pairs", [1, 2, 7, 30])
def test_the_statistic_rises_with_losses_and_falls_with_gains_and_with_the_margin(pairs):
    losses, gains = np.meshgrid(np.arange(pairs + 1.0), np.arange(pairs + 1.0), indexing="ij")
    possible = losses + gains <= pairs
    before = np.full_like(losses, np.inf)
    for margin in np.linspace(-0.99, 0.99, 67):
        score = np.where(possible, paired_score.score_statistic(losses, gains, pairs, margin), np.nan)
        with np.errstate(invalid="ignore"):
            assert not (np.diff(score, axis=0) < -1e-9).any()
            assert not (np.diff(score, axis=1) > 1e-9).any()
            assert not (score > before + 1e-9).any()
        before = score


def limit_of(lost, won, pairs, level):
    """The asymptotic upper limit at which Tango's statistic is as low as `level` asks."""

    def above(margin):
        return float(paired_score.score_statistic(np.float64(lost), np.float64(won), pairs, margin)) + stats.norm.isf(level)

    edge = 1.0 - 1e-12
    return optimize.brentq(above, -edge, edge, xtol=1e-14) if above(edge) <= 0.0 <= above(-edge) else edge


@pytest.mark.parametrize("level", [0.05, 0.005])
@pytest.mark.parametrize("pairs", [3, 12, 24])
def test_a_p_value_is_the_largest_probability_of_the_outcomes_at_least_as_safe(pairs, level):
    listed = tables(pairs)
    limits = np.array([limit_of(*table, pairs, level) for table in listed])
    margins = (-0.3, 0.0, 0.15)
    line = {margin: np.array([chances(pairs, *place) for place in on_the_line(margin, 250)]) for margin in margins}
    beyond = {
        m: np.array([chances(pairs, *place) for extra in (0.1, 0.4) for place in on_the_line(m + extra, 30)]) for m in margins
    }
    for index in np.random.default_rng(3).choice(len(listed), 10):
        region = limits <= limits[index] + 1e-9
        for margin in margins:
            ours = paired_score.safety_p_value(*listed[index], pairs, margin, level)
            largest = line[margin][:, region].sum(axis=1).max()
            assert largest - 1e-12 <= ours <= 1.0005 * largest + 2e-5  # a grid may miss a little of the peak
            assert beyond[margin][:, region].sum(axis=1).max() <= ours + 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "margin"), [(20, 0.15), (160, 0.15), (160, 0.0), (160, -0.9), (700, 0.05)])
def test_the_search_encloses_the_supremum_tightly(pairs, margin):
    generator = np.random.default_rng(pairs)
    for _ in range(4):
        lost, won, _ = generator.multinomial(pairs, [0.12, 0.05, 0.83])
        region = paired_score._as_safe(int(lost), int(won), pairs, 0.05)
        bound, _ = nuisance.supremum(region, margin)
        dense = region.probability(*nuisance.on_line(np.linspace(0.0, np.pi, 4001), margin)).max()
        assert dense - 1e-12 <= bound <= dense * 1.0005 + 2e-6


def test_a_regions_probability_is_that_of_its_outcomes():
    for lost, won, pairs in [(0, 0, 1), (2, 3, 9), (9, 0, 9), (0, 9, 9), (4, 1, 15), (8, 7, 15)]:
        region = paired_score._as_safe(lost, won, pairs, 0.05)
        inside = np.array([b <= region.most[c] for b, c in tables(pairs)])
        assert inside[tables(pairs).index((lost, won))]
        for p10, p01 in [(0.0, 0.0), (0.2, 0.1), (0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (0.0, 0.3), (0.3, 0.0)]:
            ours = float(region.probability(np.array([p10]), np.array([p01]))[0])
            assert ours == pytest.approx(chances(pairs, p10, p01)[inside].sum(), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha_pass", "alpha_fail"), [(0.05, 0.02), (0.2, 0.001)])
@pytest.mark.parametrize("margin", [0.0, 0.15, 0.4])
@pytest.mark.parametrize("pairs", [2, 9, 16, 24])
def test_the_score_rule_errs_no_more_often_than_allowed(pairs, margin, alpha_pass, alpha_fail):
    passes = np.array([paired_score.safety_p_value(*table, pairs, margin, alpha_pass) <= alpha_pass for table in tables(pairs)])
    fails = np.array([paired_score.harm_p_value(*table, pairs, margin, alpha_fail) < alpha_fail for table in tables(pairs)])
    at_margin = np.array([chances(pairs, *place) for place in on_the_line(margin, 250)])
    assert at_margin[:, passes].sum(axis=1).max() <= alpha_pass
    assert at_margin[:, fails].sum(axis=1).max() <= alpha_fail
    for difference in np.linspace(-0.9, 0.9, 13):
        rates = np.array([chances(pairs, *place) for place in on_the_line(difference, 15)])
        if difference > margin:
            assert rates[:, passes].sum(axis=1).max() <= alpha_pass
        else:
            assert rates[:, fails].sum(axis=1).max() <= alpha_fail


@pytest.mark.parametrize("pairs", [5, 16])
def test_its_bounds_miss_the_difference_no_more_often_than_allowed(pairs):
    decisions = [paired_score.score_loss_at_most(*table, pairs, 0.15, 0.1, 0.03) for table in tables(pairs)]
    lower, upper = (np.array([getattr(d, side) for d in decisions]) for side in ("lower", "upper"))
    for difference in np.linspace(-0.95, 0.95, 39):
        rates = np.array([chances(pairs, *place) for place in on_the_line(difference, 20)])
        assert rates[:, upper < difference].sum(axis=1).max(initial=0.0) <= 0.1
        assert rates[:, lower > difference].sum(axis=1).max(initial=0.0) <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "margin", "gains", "pooled", "score"),
    [(32, 0.25, 0, 2, 3), (160, 0.15, 0, 15, 16), (160, 0.15, 5, 16, 19), (160, 0.15, 20, 25, 31), (3200, 0.05, 100, 212, 229)],
)
def test_it_lets_more_losses_pass_than_the_pooled_bound(pairs, margin, gains, pooled, score):
    assert paired.allowed_losses(pairs, margin, gains=gains) == pooled
    assert paired_score.allowed_losses_by_score(pairs, margin, gains=gains) == score
    assert paired_score.score_loss_at_most(score, gains, pairs, margin).verdict == "PASS"
    assert paired_score.score_loss_at_most(score + 1, gains, pairs, margin).verdict == "INCONCLUSIVE"


@given(st.integers(1, 90), st.data(), st.floats(0.0, 0.9), st.sampled_from([0.2, 0.05, 0.05 / 60]))
@UNHURRIED
def test_a_score_decision_agrees_with_its_bounds_and_p_values(pairs, data, margin, alpha):
    gains = data.draw(st.integers(0, pairs))
    losses = data.draw(st.integers(0, pairs - gains))
    decision = paired_score.score_loss_at_most(losses, gains, pairs, margin, alpha, alpha)
    assert -1.0 <= decision.lower <= decision.estimate <= decision.upper <= 1.0
    assert (decision.verdict == "FAIL") == (decision.p_refuted < alpha)
    assert (decision.verdict == "PASS") == (decision.upper <= margin)
    assert decision.verdict != "FAIL" or decision.lower >= margin
    assert decision.verdict != "FAIL" or decision.refutable
    assert json.loads(json.dumps(dataclasses.asdict(decision)))["trials"] == pairs


def test_the_bounds_are_where_the_p_value_meets_its_error_rate():
    decision = paired_score.score_loss_at_most(30, 5, 160, 0.15, 0.05, 0.01)
    assert paired_score.safety_p_value(30, 5, 160, decision.upper) == pytest.approx(0.05, rel=0.002)
    assert paired_score.harm_p_value(30, 5, 160, decision.lower, 0.01) == pytest.approx(0.01, rel=0.003)
    assert paired_score.safety_p_value(30, 5, 160, decision.upper) <= 0.05
    assert paired_score.harm_p_value(30, 5, 160, decision.lower, 0.01) <= 0.01


def test_few_pairs_cannot_refute_and_many_are_refused():
    assert not paired_score.score_loss_at_most(4, 0, 4, 0.15, 0.05, 0.05).refutable
    assert paired_score.score_loss_at_most(16, 0, 16, 0.15, 0.05, 0.05).refutable
    nothing = paired_score.score_loss_at_most(0, 0, 0, 0.15)
    assert (nothing.verdict, nothing.estimate, nothing.lower, nothing.upper) == ("INCONCLUSIVE", None, -1.0, 1.0)
    with pytest.raises(ValueError, match="at most 10,000 pairs"):
        paired_score.safety_p_value(0, 0, 10_001, 0.15)
    for arguments in [(3, 2, 4, 0.1), (-1, 0, 4, 0.1), (1, 0, 4, 1.0), (1, 0, 4, float("nan")), (1, 0, 4, -0.1)]:
        with pytest.raises(ValueError, match=r"must|do not fit"):
            paired_score.score_loss_at_most(*arguments)


@pytest.mark.slow
def test_the_pairs_that_it_asks_for_are_enough():
    undecided = paired_score.score_loss_at_most(8, 2, 64, 0.15)
    draws = np.random.default_rng(5).multinomial(undecided.needed, [8.5 / 65, 2 / 64, 1 - 8.5 / 65 - 2 / 64], 300)
    tables, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    passed = [paired_score.safety_p_value(*map(int, table), undecided.needed, 0.15, 0.025) <= 0.025 for table in tables]
    assert 0.93 <= counts @ np.array(passed) / 300 <= 0.985
    assert paired_score.score_loss_at_most(20, 0, 64, 0.15).needed is None


def size_of_a_mixture(pairs, margin, alpha, prompts):
    """Exact probability of a PASS when prompts (count, p10, p01) with an average p10 - p01 at the margin are pooled."""
    assert sum(count * (p10 - p01) for count, p10, p01 in prompts) == pytest.approx(pairs * margin)
    table = np.ones((1, 1))
    for count, p10, p01 in prompts:
        for _ in range(count):
            wider = np.zeros((len(table) + 1, len(table) + 1))
            wider[:-1, :-1] = table * (1.0 - p10 - p01)
            wider[1:, :-1] += table * p10
            wider[:-1, 1:] += table * p01
            table = wider
    assert table.sum() == pytest.approx(1.0)
    rules = {paired: paired.allowed_losses, paired_score: paired_score.allowed_losses_by_score}
    allowed = {rule: [most(pairs, margin, alpha, won) for won in range(pairs + 1)] for rule, most in rules.items()}
    return {rule: sum(table[: most + 1, won].sum() for won, most in enumerate(allowed[rule])) for rule in allowed}


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "margin"), [(16, 0.25), (32, 0.25), (48, 0.15)])
def test_prompts_of_different_difficulty_that_gain_little_keep_the_level(pairs, margin):
    generator = np.random.default_rng(pairs)
    patterns = [[(pairs // 4, 4 * margin * 0.9, 0.0), (pairs - pairs // 4, margin * 0.1 * 4 / 3, 0.0)]]
    for _ in range(6):
        shares = generator.dirichlet([0.4] * 4) * 4 * margin
        if shares.max() < 0.94:
            patterns.append([(pairs // 4, share + 0.03, 0.03) for share in shares])
    for prompts in patterns:
        assert size_of_a_mixture(pairs, margin, 0.05, prompts)[paired_score] <= 0.05


def test_a_prompt_whose_every_pair_flips_pooled_with_unchanged_ones_exceeds_the_level_and_not_that_of_the_pooled_bound():
    sizes = size_of_a_mixture(16, 0.15, 0.05, [(9, 19 / 30, 11 / 30), (7, 0.0, 0.0)])
    assert sizes[paired_score] == pytest.approx(0.0667, abs=5e-4)
    assert sizes[paired] <= 0.05


@pytest.mark.parametrize(("lost", "won", "pairs"), [(3, 1, 12), (0, 14, 64), (37, 0, 72), (9, 9, 40)])
def test_the_ends_of_the_interval_are_the_margins_at_which_the_score_is_at_its_limits(lost, won, pairs):
    lower, upper = paired_score.score_interval(lost, won, pairs, level=0.1)
    reach = stats.norm.ppf(0.95)
    assert float(score_of(lost, won, pairs, lower)) == pytest.approx(reach, rel=1e-3)
    assert float(score_of(lost, won, pairs, upper)) == pytest.approx(-reach, rel=1e-3)
    assert lower < (lost - won) / pairs < upper
    assert paired_score.score_interval(won, lost, pairs, level=0.1) == pytest.approx((-upper, -lower))


def test_the_interval_without_any_change_has_its_closed_form():
    squared = stats.norm.ppf(0.975) ** 2
    assert paired_score.score_interval(0, 0, 64) == pytest.approx((-squared / (64 + squared), squared / (64 + squared)))
    assert paired_score.score_interval(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(("p10", "p01"), [(0.1, 0.1), (0.3, 0.05), (0.02, 0.3)])
def test_the_interval_covers_about_as_often_as_it_says(p10, p01):
    pairs = 40
    covered = [
        low <= p10 - p01 <= high for low, high in (paired_score.score_interval(*counts, pairs) for counts in tables(pairs))
    ]
    assert 0.93 < float(chances(pairs, p10, p01) @ covered) < 0.98


def test_an_interval_of_impossible_counts_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        paired_score.score_interval(3, 3, 5)
    with pytest.raises(ValueError, match="level"):
        paired_score.score_interval(1, 1, 5, level=1.5)
