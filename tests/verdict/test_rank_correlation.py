"""Spearman's rho of similarity and damage: values, p-values, interval, and the cases without an answer."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from dmun_audit.verdict.ordering import average_ranks, fisher_interval, spearman


def test_rho_and_ranks_agree_with_scipy_with_ties():
    generator = np.random.default_rng(0)
    similarity, damage = generator.integers(0, 6, 30), generator.integers(0, 5, 30) / 10.0
    assert average_ranks(similarity.astype(float)).tolist() == stats.rankdata(similarity).tolist()
    assert spearman(similarity, damage, 99).rho == pytest.approx(stats.spearmanr(similarity, damage).statistic)


@pytest.mark.parametrize("damage", [[0.1, 0.3, 0.2, 0.6, 0.5], [1.0, 1.0, 2.0, 2.0, 3.0], [5.0, 3.0, 3.0, 1.0, 2.0]])
def test_p_values_approach_those_of_all_orders(damage):
    similarity = [0.1, 0.2, 0.2, 0.4, 0.9]
    centred = stats.rankdata(similarity) - 3.0
    every = np.array([centred @ order for order in itertools.permutations(stats.rankdata(damage))])
    observed = centred @ stats.rankdata(damage)
    result = spearman(similarity, damage, draws=20_000, seed=1)
    assert result.p_one_sided == pytest.approx(np.mean(every >= observed), abs=0.015)
    assert result.p_two_sided == pytest.approx(np.mean(np.abs(every) >= abs(observed)), abs=0.015)


def test_the_sign_says_that_greater_similarity_goes_with_greater_damage():
    up, down = np.arange(20.0), -np.arange(20.0)
    forward, backward = spearman(up, up**3, 999), spearman(up, down, 999)
    assert (forward.rho, forward.p_one_sided) == (1.0, 1 / 1000)
    assert (backward.rho, backward.p_one_sided, backward.p_two_sided) == (-1.0, 1.0, 1 / 1000)


def test_p_values_are_level_without_a_relation():
    generator = np.random.default_rng(3)
    rejections = [spearman(*generator.normal(size=(2, 12)), draws=99, seed=i).p_one_sided <= 0.1 for i in range(400)]
    assert stats.binom.ppf(0.001, 400, 0.1) <= sum(rejections) <= stats.binom.ppf(0.999, 400, 0.1)


def test_the_interval_covers_a_known_rho():
    generator = np.random.default_rng(4)
    true = 6.0 / np.pi * np.arcsin(0.5 / 2.0)  # Spearman's rho of a normal pair with correlation ½
    covered = 0
    for _ in range(300):
        x, noise = generator.normal(size=(2, 30))
        result = spearman(x, 0.5 * x + np.sqrt(0.75) * noise, draws=1)
        covered += result.lower <= true <= result.upper
    assert covered >= stats.binom.ppf(0.001, 300, 0.95)


def test_a_perfect_order_of_few_concepts_still_has_a_wide_interval():
    lower, upper = fisher_interval(1.0, 5, 0.95)
    assert lower < 0.8
    assert upper == 1.0
    assert fisher_interval(-1.0, 5, 0.95) == (-1.0, pytest.approx(-lower))
    assert fisher_interval(1.0, 40, 0.95)[0] > lower
    assert fisher_interval(0.5, 3, 0.95) == (None, None)


@pytest.mark.parametrize(("concepts", "descriptive"), [(10, True), (19, True), (20, False)])
def test_below_twenty_concepts_it_only_describes(concepts, descriptive):
    generator = np.random.default_rng(5)
    assert spearman(*generator.normal(size=(2, concepts)), draws=9).descriptive is descriptive


@pytest.mark.parametrize(
    ("similarity", "damage", "note"),
    [
        ([0.5] * 25, list(range(25)), "the similarity is the same for all concepts"),
        (list(range(25)), [0.0] * 25, "the damage is the same for all concepts"),
        ([0.1, 0.2], [0.3, 0.4], "fewer than three concepts"),
        ([], [], "fewer than three concepts"),
    ],
)
def test_without_an_answer_it_says_none_and_why(similarity, damage, note):
    result = spearman(similarity, damage)
    assert (result.rho, result.p_one_sided, result.p_two_sided, result.lower, result.upper) == (None,) * 5
    assert (result.descriptive, result.note) == (True, note)


def test_results_are_plain_and_fixed_by_the_seed():
    values = np.random.default_rng(6).normal(size=(2, 15))
    first = spearman(*values, draws=np.int64(1_000), seed=8, confidence=np.float64(0.9))
    assert first == spearman(*values, draws=1_000, seed=8, confidence=0.9)
    for value in dataclasses.asdict(first).values():
        assert type(value) in (str, int, float, bool)


@pytest.mark.parametrize(
    "call",
    [
        lambda: spearman([1, 2, 3], [1, 2]),
        lambda: spearman([1, 2, float("nan")], [1, 2, 3]),
        lambda: spearman([1, 2, 3], [1, 2, 3], draws=0),
        lambda: spearman([1, 2, 3], [1, 2, 3], confidence=1.0),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(ValueError, match=r"must|needs|damages"):
        call()


def test_the_interval_has_the_width_of_bonett_and_wright():
    reach = 1.959964 * (1.125 / 17) ** 0.5
    assert np.arctanh(fisher_interval(0.5, 20, 0.95)) == pytest.approx([np.arctanh(0.5) - reach, np.arctanh(0.5) + reach])
