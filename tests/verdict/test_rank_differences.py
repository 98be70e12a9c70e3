"""The difference of two sources on the same concepts, and the concepts that would show it."""

import numpy as np
import pytest
from scipy import stats

from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.verdict.concepts_needed import MOST_CONCEPTS, concepts_needed
from dmun_audit.verdict.ordering import fisher_interval, spearman
from dmun_audit.verdict.pooled_ordering import ranked_concepts
from dmun_audit.verdict.rank_differences import pooled_difference, rank_correlation_difference


def samples(generator, count, n, first, second, between):
    """`count` samples of `n` concepts: damage, and two sources with these correlations with it and with each other."""
    matrix = np.array([[1, first, second], [first, 1, between], [second, between, 1]])
    return (generator.normal(size=(count, n, 3)) @ np.linalg.cholesky(matrix).T).transpose(0, 2, 1)


def true_difference(first, second):
    return 6.0 / np.pi * (np.arcsin(first / 2.0) - np.arcsin(second / 2.0))


def test_the_difference_is_that_of_both_rhos_and_changes_its_sign_with_the_order():
    damage, first, second = samples(np.random.default_rng(0), 1, 20, 0.7, 0.2, 0.3)[0]
    found, turned = rank_correlation_difference(first, second, damage), rank_correlation_difference(second, first, damage)
    assert found.first == pytest.approx(spearman(first, damage).rho)
    assert found.second == pytest.approx(spearman(second, damage).rho)
    assert found.difference == pytest.approx(found.first - found.second)
    assert (turned.difference, turned.lower, turned.upper) == pytest.approx((-found.difference, -found.upper, -found.lower))
    assert (turned.p_two_sided, turned.needed) == (pytest.approx(found.p_two_sided), found.needed)


def test_independent_intervals_combine_as_zou_says():
    """Where the two correlations do not vary together, the ends are those of the plain formula."""
    generator = np.random.default_rng(1)
    damage, first, second = samples(generator, 1, 4_000, 0.5, -0.5, -0.1)[0]
    found = rank_correlation_difference(first, second, damage)
    (low, high), (other_low, other_high) = (fisher_interval(rho, 4_000, 0.95) for rho in (found.first, found.second))
    below = np.hypot(found.first - low, other_high - found.second)
    assert found.lower == pytest.approx(found.difference - below, rel=0.05)
    assert found.upper == pytest.approx(found.difference + np.hypot(high - found.first, found.second - other_low), rel=0.05)


@pytest.mark.parametrize(("n", "coarse"), [(10, False), (10, True), (40, False)])
@pytest.mark.parametrize(("first", "second", "between"), [(0, 0, 0.8), (0.5, 0.5, 0.5), (0.7, 0.2, 0.3), (0.8, 0.8, 0.8)])
def test_the_interval_covers_the_true_difference(first, second, between, n, coarse):
    generator = np.random.default_rng(n)
    covered = 0
    for damage, one, other in samples(generator, 120, n, first, second, between):
        damage = np.round(np.clip(damage, 0, None) * 4) / 4 if coarse else damage  # half of the concepts are not damaged
        if np.ptp(damage) == 0:
            continue
        found = rank_correlation_difference(one, other, damage)
        true = true_difference(first, second) * (0.92 if coarse else 1.0)
        covered += found.lower <= true <= found.upper
    assert covered >= stats.binom.ppf(0.001, 120, 0.94)


def test_equal_sources_are_told_apart_no_more_often_than_the_level_says():
    generator = np.random.default_rng(3)
    drawn = samples(generator, 200, 15, 0.5, 0.5, 0.5)
    rejected = sum(rank_correlation_difference(one, other, damage).p_two_sided <= 0.05 for damage, one, other in drawn)
    assert rejected <= stats.binom.ppf(0.999, 200, 0.05)


def test_the_p_value_says_where_the_interval_reaches_zero():
    for damage, first, second in samples(np.random.default_rng(4), 20, 15, 0.7, 0.1, 0.3):
        found = rank_correlation_difference(first, second, damage)
        at_zero = rank_correlation_difference(first, second, damage, confidence=1 - found.p_two_sided)
        assert min(abs(at_zero.lower), abs(at_zero.upper)) < 1e-6
        assert (found.p_two_sided <= 0.05) == (found.lower > 0 or found.upper < 0)


def test_sources_that_order_alike_do_not_differ():
    damage, first, _ = samples(np.random.default_rng(5), 1, 12, 0.6, 0.2, 0.3)[0]
    found = rank_correlation_difference(first, np.exp(first), damage)
    assert (found.difference, found.lower, found.upper, found.p_two_sided, found.needed) == (0.0, 0.0, 0.0, 1.0, None)


@pytest.mark.parametrize(
    "sides", [([1] * 9, range(9), range(9)), (range(9), range(9), [0] * 9), ([1, 2, 3], [3, 1, 2], [1, 2, 3])]
)
def test_without_a_rho_there_is_no_difference(sides):
    assert rank_correlation_difference(*sides).difference is None


def test_a_perfect_source_is_told_from_a_useless_one():
    damage = np.arange(12.0)
    useless = [5, 11, 0, 7, 2, 9, 1, 10, 4, 8, 3, 6]
    found = rank_correlation_difference(damage, useless, damage)
    assert (found.first, found.p_two_sided < 0.01) == (1.0, True)
    assert found.lower > 0.4


def test_over_several_audits_the_concepts_that_both_sources_order_count():
    generator = np.random.default_rng(6)
    names = [f"{place:02d}" for place in range(15)]
    first, second = [], []
    for block in ("a", "b", "c", "d"):
        damage, one, other = samples(generator, 1, 15, 0.8, 0.1, 0.1)[0]
        first.append(ranked_concepts(block, names, one, damage))
        second.append(ranked_concepts(block, names[:12], other[:12], damage[:12]))
    together, alone = pooled_difference(first, second), pooled_difference(first[:1], second[:1])
    assert (together.audits, together.concepts) == (4, 48)
    assert together.upper - together.lower < alone.upper - alone.lower
    assert together.p_two_sided < 0.01


# How many concepts it would take.


@pytest.mark.parametrize("relation", [0.3, 0.5, 0.7])
def test_the_numbers_of_concepts_give_the_power_that_they_promise(relation):
    generator = np.random.default_rng(7)
    n = concepts_needed(6.0 / np.pi * np.arcsin(relation / 2.0))
    found = 0
    for seed in range(200):
        x, noise = generator.normal(size=(2, n))
        found += spearman(x, relation * x + np.sqrt(1 - relation**2) * noise, draws=399, seed=seed).p_one_sided <= 0.05
    assert found / 200 == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize(("first", "second", "between"), [(0.8, 0.2, 0.3), (0.7, 0.3, 0.5), (0.85, 0.5, 0.6)])
def test_the_number_that_tells_two_sources_apart_does_so_four_times_in_five(first, second, between):
    generator = np.random.default_rng(8)
    damage, one, other = samples(generator, 1, 8_000, first, second, between)[0]
    needed = rank_correlation_difference(one, other, damage).needed
    drawn = samples(generator, 200, needed, first, second, between)
    told = sum(rank_correlation_difference(one, other, damage).p_two_sided <= 0.05 for damage, one, other in drawn)
    assert told / 200 == pytest.approx(0.8, abs=0.09)


def test_no_number_of_concepts_shows_what_is_not_there():
    assert concepts_needed(0.0) is None
    assert concepts_needed(-0.6) is None
    assert concepts_needed(0.05) is None  # 2,500: more than a dossier holds
    assert concepts_needed(1.0) == 5
    assert (
        next(each.max_length for each in Dossier.model_fields["concepts"].metadata if hasattr(each, "max_length"))
        == MOST_CONCEPTS
    )


def test_more_audits_need_fewer_concepts_each():
    numbers = [concepts_needed(0.3, audits) for audits in (1, 2, 4)]
    assert numbers == sorted(numbers, reverse=True)
    assert (numbers[0] - 3) / 4 == pytest.approx(numbers[2] - 3, abs=1)


@pytest.mark.parametrize(
    "call", [lambda: concepts_needed(1.2), lambda: concepts_needed(0.5, 0), lambda: concepts_needed(0.5, power=1.0)]
)
def test_impossible_input_is_refused(call):
    with pytest.raises(ValueError, match=r"must|lies"):
        call()
