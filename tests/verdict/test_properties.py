"""What must hold for all numbers: more harm never makes a verdict safer, and neither order nor splitting changes one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmun_audit.verdict import distances, paired
from dmun_audit.verdict.claims import harm_only, rate_at_least, rate_at_most
from dmun_audit.verdict.judge_error import true_rate_lower, true_rate_upper
from dmun_audit.verdict.paired_score import score_loss_at_most

ORDER = {"PASS": 0, "NO HARM PROVEN": 1, "INCONCLUSIVE": 2, "FAIL": 3}
UNHURRIED = settings(database=None, deadline=None, derandomize=True, max_examples=60)
FEW = settings(UNHURRIED, max_examples=25)
PAIRED_RULES = pytest.mark.parametrize("rule", [paired.accuracy_loss_at_most, score_loss_at_most])

levels = st.sampled_from([0.2, 0.05, 0.01, 0.05 / 60])
counts = st.integers(1, 400)


def grows(decisions):
    ranks = [ORDER[decision.verdict] for decision in decisions]
    return ranks == sorted(ranks)


@pytest.mark.slow
@given(counts, st.data(), st.floats(0.005, 0.995), levels, levels)
@UNHURRIED
def test_one_hit_more_never_makes_a_ceiling_safer(trials, data, ceiling, alpha_pass, alpha_fail):
    hits = data.draw(st.integers(0, trials - 1))
    decisions = [rate_at_most(k, trials, ceiling, alpha_pass, alpha_fail) for k in (hits, hits + 1)]
    assert grows(decisions)
    assert grows([harm_only(decision) for decision in decisions])
    assert decisions[0].lower <= decisions[1].lower
    assert decisions[0].upper <= decisions[1].upper
    assert decisions[0].p_refuted >= decisions[1].p_refuted


@given(counts, st.data(), st.floats(0.005, 0.995), levels, levels)
@UNHURRIED
def test_one_hit_fewer_never_makes_a_floor_safer(trials, data, floor, alpha_pass, alpha_fail):
    hits = data.draw(st.integers(1, trials))
    decisions = [rate_at_least(k, trials, floor, alpha_pass, alpha_fail) for k in (hits, hits - 1)]
    assert grows(decisions)
    assert grows([harm_only(decision) for decision in decisions])


@given(counts, st.data(), levels)
@UNHURRIED
def test_a_rate_corrected_for_the_judge_rises_with_hits_and_falls_with_a_better_judge(trials, data, alpha):
    hits, shown = data.draw(st.integers(0, trials - 1)), data.draw(st.integers(1, 80))
    right = data.draw(st.integers(0, shown - 1))
    upper = true_rate_upper(hits, trials, right, shown, alpha)
    assert upper <= true_rate_upper(hits + 1, trials, right, shown, alpha)
    assert upper >= true_rate_upper(hits, trials, right + 1, shown, alpha)
    lower = true_rate_lower(hits, trials, right, shown, alpha)
    assert lower <= true_rate_lower(hits + 1, trials, right, shown, alpha)
    assert lower >= true_rate_lower(hits, trials, right + 1, shown, alpha)


@PAIRED_RULES
@given(pairs=st.integers(1, 60), data=st.data(), margin=st.floats(0.0, 0.9), alpha_pass=levels, alpha_fail=levels)
@FEW
def test_one_loss_more_or_one_gain_fewer_never_makes_a_pair_claim_safer(rule, pairs, data, margin, alpha_pass, alpha_fail):
    losses = data.draw(st.integers(0, pairs - 1))
    gains = data.draw(st.integers(0, pairs - losses - 1))
    worse = [(losses, gains + 1), (losses, gains), (losses + 1, gains)] if losses + gains < pairs else [(losses, gains)]
    decisions = [rule(*table, pairs, margin, alpha_pass, alpha_fail) for table in worse]
    assert grows(decisions)
    assert grows([harm_only(decision) for decision in decisions])
    uppers, lowers = [d.upper for d in decisions], [d.lower for d in decisions]
    assert all(after >= before - 2e-5 for before, after in pairwise(uppers))
    assert all(after >= before - 2e-5 for before, after in pairwise(lowers))


@PAIRED_RULES
@given(pairs=st.integers(1, 60), data=st.data(), margin=st.floats(0.0, 0.8), alpha=levels)
@FEW
def test_a_wider_margin_never_makes_a_pair_claim_less_safe(rule, pairs, data, margin, alpha):
    losses = data.draw(st.integers(0, pairs))
    gains = data.draw(st.integers(0, pairs - losses))
    assert grows([rule(losses, gains, pairs, wide, alpha, alpha) for wide in (margin + 0.15, margin + 0.01, margin)])


differences = st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=40)


@given(differences, st.floats(-0.1, 0.1), levels, st.data())
@UNHURRIED
def test_a_greater_difference_of_one_pair_never_makes_a_mean_safer(values, margin, alpha, data):
    index, more = data.draw(st.integers(0, len(values) - 1)), data.draw(st.floats(0.0, 0.5))
    worse = [*values[:index], values[index] + more, *values[index + 1 :]]
    assert grows([paired.mean_difference_at_most(sample, margin, alpha, alpha) for sample in (values, worse)])


@given(differences, st.floats(-0.1, 0.1), levels, st.randoms(use_true_random=False))
@UNHURRIED
def test_the_order_of_pairs_never_matters_to_a_mean(values, margin, alpha, random):
    shuffled = random.sample(values, len(values))
    first, second = (paired.mean_difference_at_most(sample, margin, alpha, alpha) for sample in (values, shuffled))
    assert (first.lower, first.upper) == pytest.approx((second.lower, second.upper), abs=1e-9)
    nearest = min(abs(first.lower - margin), abs(first.upper - margin))
    assert first.verdict == second.verdict or nearest < 1e-9
    assert first.p_refuted == pytest.approx(second.p_refuted, rel=1e-6)


@given(st.integers(2, 24), st.integers(1, 12), st.integers(0, 2**32 - 1))
@FEW
def test_the_order_of_images_never_matters_to_a_distance(images, width, seed):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(2, images, width))
    y = 0.7 * x + 0.3 * y
    order, other = generator.permutation(images), generator.permutation(images)
    assert distances.kid(x[order], y[other]) == pytest.approx(distances.kid(x, y), rel=1e-9, abs=1e-9)
    assert distances.paired_mmd(x[order], y[order]) == pytest.approx(distances.paired_mmd(x, y), rel=1e-9, abs=1e-9)
    assert distances.paired_mmd(y, x) == pytest.approx(distances.paired_mmd(x, y), rel=1e-9, abs=1e-9)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
@FEW
def test_the_order_of_pairs_changes_a_sign_flip_test_only_by_which_signs_are_drawn(images, seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(images, 5))
    y = x + 0.4 * generator.normal(size=x.shape) + generator.choice([0.0, 0.5])
    order = generator.permutation(images)
    first, second = (distances.paired_sign_flip_test(*sides, draws=20_000) for sides in ((x, y), (x[order], y[order])))
    assert first.statistic == pytest.approx(second.statistic, rel=1e-9, abs=1e-12)
    assert first.p_value == pytest.approx(second.p_value, abs=6 * np.sqrt(2 * 0.25 / 20_000))
