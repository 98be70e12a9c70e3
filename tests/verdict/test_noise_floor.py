"""The noise floor of unpaired distances: its splits, its level on sets of which nothing has changed, and what lies above it."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmun_audit.verdict.distances import cmmd_kernel, kid, mmd, paired_mmd, polynomial_kernel
from dmun_audit.verdict.noise_floor import _halves, compare_other_seeds, noise_floor


def drawn(generator, prompts, correlation=0.8, shift=0.0, apart=2.0, d=8):
    """Base and candidate of the same seeds, whose rows depend on their prompt; `shift` moves the candidate."""
    centres = apart * generator.normal(size=(max(prompts) + 1, d))[list(prompts)]
    shared = np.sqrt(correlation) * generator.normal(size=centres.shape)
    own = np.sqrt(1.0 - correlation) * generator.normal(size=(2, *centres.shape))
    return centres + shared + own[0], centres + shared + own[1] + shift


@settings(max_examples=60, deadline=None)
@given(prompts=st.lists(st.integers(0, 4), min_size=12, max_size=30), seed=st.integers(0, 99))
def test_halves_are_balanced_over_prompts_and_equally_large(prompts, seed):
    for half in _halves(prompts, len(prompts), 5, seed):
        first = Counter(prompt for prompt, chosen in zip(prompts, half, strict=True) if chosen)
        every = Counter(prompts)
        assert all(abs(2 * first[prompt] - count) <= count % 2 for prompt, count in every.items())
        assert abs(2 * half.sum() - len(prompts)) <= len(prompts) % 2


def test_every_image_comes_into_either_half_equally_often():
    halves = _halves([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4], 12, 8_000, 0)
    assert halves.mean(axis=0) == pytest.approx(np.full(12, 0.5), abs=0.03)
    together = [np.mean(halves[:, i] == halves[:, j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    assert together == pytest.approx([1 / 3] * 3, abs=0.03)  # of three images of a prompt, two are in the same half


@pytest.mark.parametrize("kernel", [polynomial_kernel, cmmd_kernel])
def test_distance_and_floor_are_those_of_kid_between_the_halves(kernel):
    prompts = [0, 1] * 6
    x, y = drawn(np.random.default_rng(0), prompts, shift=0.4)
    halves = _halves(prompts, 12, 30, 7).astype(bool)
    apart = np.array([(mmd(x[half], y[~half], kernel) + mmd(x[~half], y[half], kernel)) / 2.0 for half in halves])
    of_base, of_candidate = (np.array([mmd(side[half], side[~half], kernel) for half in halves]) for side in (x, y))
    result = compare_other_seeds(x, y, prompts, kernel, draws=30, seed=7)
    assert result.distance == pytest.approx(apart.mean() - (of_base.mean() + of_candidate.mean()) / 2.0)
    assert result.floor == pytest.approx(np.sort(of_base - of_base.mean())[28])  # 28 of 29 steps: the 95% quantile, upwards
    assert result.floor == noise_floor(x, prompts, kernel, draws=30, seed=7) > 0.0
    assert (result.draws, result.half) == (30, 6)


def test_over_all_splits_of_one_prompt_the_distance_is_the_paired_one():
    x, y = drawn(np.random.default_rng(1), [0] * 12, shift=0.3)
    splits = [list(chosen) for chosen in itertools.combinations(range(12), 6)]
    every = np.mean([kid(x[chosen], y[[i for i in range(12) if i not in chosen]]) for chosen in splits])
    assert every == pytest.approx(paired_mmd(x, y))
    assert compare_other_seeds(x, y, [0] * 12, draws=20_000).distance == pytest.approx(every, rel=0.02)


def test_neither_the_pairs_nor_the_prompts_bias_the_distance():
    generator = np.random.default_rng(2)
    prompts = [0, 1] * 6
    sets = [drawn(generator, prompts) for _ in range(300)]
    distances = np.array([compare_other_seeds(x, y, prompts, draws=40).distance for x, y in sets])
    assert abs(distances.mean()) < 3.5 * distances.std() / np.sqrt(300)
    usual = np.array([kid(x, y) for x, y in sets])
    assert usual.mean() < -5.0 * usual.std() / np.sqrt(300)


def test_halves_of_fresh_seeds_rise_above_the_floor_as_seldom_as_it_says():
    generator = np.random.default_rng(3)
    prompts, repeats, above = [0] * 16, 400, 0
    for _ in range(repeats):
        x, y = drawn(generator, prompts, correlation=0.0)
        above += kid(x[:8], y[8:]) > noise_floor(x, prompts, draws=150)
    assert stats.binom.ppf(0.001, repeats, 0.05) <= above <= stats.binom.ppf(0.999, repeats, 0.06)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("prompts", [[0] * 12, [0, 1, 2] * 4, [0, 1, 2, 3, 4, 5] * 2, list(range(12))])
def test_the_distance_of_an_unchanged_model_stays_under_the_floor(correlation, prompts):
    generator = np.random.default_rng(4)
    above = 0
    for _ in range(150):
        sets = drawn(generator, prompts, correlation, apart=4.0, d=4)
        x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sets)  # as the judge gives them
        result = compare_other_seeds(x, y, prompts, draws=100)
        above += result.distance > result.floor
    assert above <= stats.binom.ppf(0.999, 150, 0.05)


def test_damage_rises_above_the_floor():
    generator = np.random.default_rng(5)
    prompts = [0, 1] * 8
    results = [compare_other_seeds(*drawn(generator, prompts, shift=1.5), prompts, draws=200) for _ in range(20)]
    assert all(one.distance > one.floor for one in results)


def test_unbalanced_halves_would_take_prompts_for_noise():
    x, _ = drawn(np.random.default_rng(6), [0, 1] * 8, apart=5.0)
    assert noise_floor(x, [0, 1] * 8) < 0.3 * noise_floor(x, ["any"] * 16)


def test_the_floor_falls_about_as_the_number_of_images_rises():
    generator = np.random.default_rng(7)
    small, large = (
        np.mean([noise_floor(generator.normal(size=(n, 8)), [0] * n, draws=200) for _ in range(30)]) for n in (16, 64)
    )
    assert 3.0 < small / large < 5.5


def test_a_seed_fixes_it_and_results_are_plain():
    x, y = drawn(np.random.default_rng(8), [0, 1] * 6)
    first, second = (compare_other_seeds(x, y, ["a", "b"] * 6, seed=3) for _ in range(2))
    assert first == second
    assert [type(value) for value in (first.distance, first.floor, first.draws, first.half)] == [float, float, int, int]


def test_an_unchanged_candidate_has_no_distance():
    x, _ = drawn(np.random.default_rng(9), [0, 1] * 6)
    assert compare_other_seeds(x, x.copy(), [0, 1] * 6).distance == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: noise_floor(np.ones((11, 2)), [0] * 11),
        lambda: noise_floor(np.ones((13, 2)), [0] * 12),
        lambda: noise_floor(np.ones((13, 2)), [0] * 13, draws=0),
        lambda: noise_floor(np.ones((13, 2)), [0] * 13, level=1.0),
        lambda: noise_floor(np.full((13, 2), np.nan), [0] * 13),
        lambda: compare_other_seeds(np.ones((13, 2)), np.ones((12, 2)), [0] * 13),
    ],
)
def test_impossible_sets_are_refused(call):
    with pytest.raises(ValueError, match=r"must|need"):
        call()
