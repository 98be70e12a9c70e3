"""KID, CMMD and the paired statistic against naive loops, and the sign-flip test's level and power on pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dmun_audit.verdict import distances


def same_seed_pairs(generator, n=40, d=8, correlation=0.8, shift=0.0):
    """Two sets from one distribution whose rows share most of their seed's content; `shift` moves the second."""
    shared = generator.normal(size=(n, d)) * np.sqrt(correlation)
    own = generator.normal(size=(2, n, d)) * np.sqrt(1.0 - correlation)
    return shared + own[0], shared + own[1] + shift


def kernel(a, b):
    return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3


@pytest.fixture
def sets():
    generator = np.random.default_rng(0)
    return generator.normal(size=(6, 5)), generator.normal(size=(6, 5)) + 0.3


def test_kid_equals_a_naive_double_loop(sets):
    x, y = sets[0], sets[1][:4]
    within_x = np.mean([kernel(a, b) for a, b in itertools.permutations(x, 2)])
    within_y = np.mean([kernel(a, b) for a, b in itertools.permutations(y, 2)])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert distances.kid(x, y) == pytest.approx(within_x + within_y - 2.0 * across, rel=1e-12)
    assert distances.kid(y, x) == pytest.approx(distances.kid(x, y), rel=1e-12)


def gaussian(a, b):
    return 1000.0 * math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 200.0)


def test_cmmd_equals_a_naive_double_loop(sets):
    x, y = sets[0], sets[1][:4]
    within_x = np.mean([gaussian(a, b) for a, b in itertools.permutations(x, 2)])
    within_y = np.mean([gaussian(a, b) for a, b in itertools.permutations(y, 2)])
    across = np.mean([gaussian(a, b) for a in x for b in y])
    assert distances.cmmd(x, y) == pytest.approx(within_x + within_y - 2.0 * across, rel=1e-9)
    assert distances.cmmd(y, x) == pytest.approx(distances.cmmd(x, y), rel=1e-9)


def test_paired_cmmd_equals_a_naive_double_loop(sets):
    x, y = sets
    terms = [
        gaussian(x[i], x[j]) + gaussian(y[i], y[j]) - gaussian(x[i], y[j]) - gaussian(y[i], x[j])
        for i, j in itertools.permutations(range(6), 2)
    ]
    assert distances.paired_mmd(x, y, distances.cmmd_kernel) == pytest.approx(np.mean(terms), rel=1e-9)


def units(generator, n, d=64, shift=0.0):
    drawn = generator.normal(size=(n, d)) + shift
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_cmmd_of_many_unit_vectors_is_the_published_estimate_which_counts_an_image_with_itself():
    generator = np.random.default_rng(3)
    x, y = units(generator, 400), units(generator, 400, shift=0.3)
    published = distances.cmmd_kernel(x, x).mean() + distances.cmmd_kernel(y, y).mean() - 2 * distances.cmmd_kernel(x, y).mean()
    itself = sum((1000.0 - distances.cmmd_kernel(side, side)[~np.eye(400, dtype=bool)].mean()) / 400 for side in (x, y))
    assert published == pytest.approx(distances.cmmd(x, y) + itself, rel=1e-9)
    assert distances.cmmd(x, y) == pytest.approx(published, rel=0.1)


def test_on_unit_vectors_kid_and_cmmd_measure_the_distance_of_the_means():
    generator = np.random.default_rng(4)
    x, y = units(generator, 600), units(generator, 600, shift=0.3)
    inner = x @ y.T
    means = (x @ x.T - np.eye(600)).sum() / (600 * 599) + (y @ y.T - np.eye(600)).sum() / (600 * 599) - 2 * inner.mean()
    assert distances.kid(x, y) == pytest.approx(3.0 / 64 * means, rel=0.05)
    assert distances.cmmd(x, y) == pytest.approx(10.0 * means, rel=0.05)


def test_paired_mmd_equals_a_naive_double_loop(sets):
    x, y = sets
    terms = [
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(y[i], x[j])
        for i, j in itertools.permutations(range(6), 2)
    ]
    assert distances.paired_mmd(x, y) == pytest.approx(np.mean(terms), rel=1e-12)


def test_swapping_a_pair_flips_the_signs_of_its_row_and_column(sets):
    x, y = sets[0].copy(), sets[1].copy()
    before = distances.paired_kernel_matrix(x, y)
    x[[2]], y[[2]] = y[[2]], x[[2]]
    signs = np.ones(6)
    signs[2] = -1.0
    assert distances.paired_kernel_matrix(x, y) == pytest.approx(before * np.outer(signs, signs))


def test_the_p_value_approaches_that_of_all_sign_patterns(sets):
    h = distances.paired_kernel_matrix(*sets)
    every = [np.array(signs) @ h @ np.array(signs) for signs in itertools.product((-1.0, 1.0), repeat=6)]
    exact = np.mean(np.array(every) >= h.sum() - 1e-9)
    assert 0.0 < exact < 1.0
    result = distances.paired_sign_flip_test(*sets, draws=20_000, seed=1)
    assert result.p_value == pytest.approx(exact, abs=4.0 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    assert result.statistic == pytest.approx(h.sum() / 30)


def test_on_same_seed_pairs_the_usual_kid_is_biased_and_the_paired_one_is_not():
    generator = np.random.default_rng(7)
    drawn = [same_seed_pairs(generator) for _ in range(300)]
    usual = np.array([distances.kid(x, y) for x, y in drawn])
    right = np.array([distances.paired_mmd(x, y) for x, y in drawn])
    assert usual.mean() < -5.0 * usual.std() / np.sqrt(300)
    assert abs(right.mean()) < 3.5 * right.std() / np.sqrt(300)


@pytest.mark.parametrize("kernel", [distances.polynomial_kernel, distances.cmmd_kernel])
def test_sign_flips_keep_their_level_with_any_kernel(kernel):
    generator = np.random.default_rng(23)
    repeats, alpha = 200, 0.1
    drawn = [same_seed_pairs(generator) for _ in range(repeats)]
    flips = sum(
        distances.paired_sign_flip_test(x, y, 99, seed=i, kernel=kernel).p_value <= alpha for i, (x, y) in enumerate(drawn)
    )
    assert stats.binom.ppf(0.001, repeats, alpha) <= flips <= stats.binom.ppf(0.999, repeats, alpha)
    moved = [same_seed_pairs(generator, shift=0.15) for _ in range(20)]
    assert sum(distances.paired_sign_flip_test(x, y, 199, seed=3, kernel=kernel).p_value <= 0.05 for x, y in moved) >= 15


def ordinary_permutation_p_value(x, y, draws, generator):
    pooled, n = np.concatenate([x, y]), len(x)
    observed, large = distances.kid(x, y), 0
    for _ in range(draws):
        order = generator.permutation(2 * n)
        large += distances.kid(pooled[order[:n]], pooled[order[n:]]) >= observed
    return (1 + large) / (1 + draws)


def test_sign_flips_keep_their_level_where_the_ordinary_permutation_test_rejects_nothing():
    generator = np.random.default_rng(13)
    repeats, alpha, draws = 200, 0.1, 99
    drawn = [same_seed_pairs(generator) for _ in range(repeats)]
    flips = sum(distances.paired_sign_flip_test(x, y, draws, seed=i).p_value <= alpha for i, (x, y) in enumerate(drawn))
    assert stats.binom.ppf(0.001, repeats, alpha) <= flips <= stats.binom.ppf(0.999, repeats, alpha)
    ordinary = sum(ordinary_permutation_p_value(x, y, draws, generator) <= alpha for x, y in drawn[:60])
    assert ordinary == 0


def test_sign_flips_see_a_shift_that_the_ordinary_permutation_test_misses():
    generator = np.random.default_rng(17)
    drawn = [same_seed_pairs(generator, shift=0.15) for _ in range(20)]
    assert sum(distances.paired_sign_flip_test(x, y, 199, seed=3).p_value <= 0.05 for x, y in drawn) >= 15
    assert sum(ordinary_permutation_p_value(x, y, 99, generator) <= 0.05 for x, y in drawn) == 0


@pytest.mark.parametrize("kernel", [distances.polynomial_kernel, distances.cmmd_kernel])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_identical_sets_differ_with_probability_one(scale, kernel):
    x = np.random.default_rng(1).normal(size=(50, 513)).astype(np.float32) * scale
    result = distances.paired_sign_flip_test(x, x.copy(), draws=200, kernel=kernel)
    assert (result.statistic, result.p_value) == (0.0, 1.0)


@pytest.mark.parametrize("kernel", [distances.polynomial_kernel, distances.cmmd_kernel])
def test_rounding_noise_in_embeddings_is_not_a_difference(kernel):
    x = np.random.default_rng(1).normal(size=(50, 512))
    assert distances.paired_sign_flip_test(x, x * (1.0 + 1e-15) + 1e-15, draws=200, kernel=kernel).p_value == 1.0


def test_one_changed_pair_alone_cannot_be_told():
    x = np.random.default_rng(1).normal(size=(50, 64))
    y = x.copy()
    y[7] += 1.0
    assert distances.paired_sign_flip_test(x, y, draws=200).p_value == 1.0


def test_ties_count_as_large():
    x = np.array([[1.0, 0.0], [1.0, 0.0]])
    y = np.array([[0.0, 1.0], [0.0, 1.0]])
    result = distances.paired_sign_flip_test(x, y, draws=4_000, seed=2)  # ε₁ε₂ = 1 half of the time, then a tie
    assert result.p_value == pytest.approx(0.5, abs=0.04)


def test_a_seed_fixes_the_p_value_and_results_are_plain():
    x, y = same_seed_pairs(np.random.default_rng(2))
    first, second = (distances.paired_sign_flip_test(x, y, draws=np.int64(700), seed=4) for _ in range(2))
    assert first == second
    assert [type(v) for v in (first.statistic, first.p_value, first.draws, first.pairs)] == [float, float, int, int]
    assert type(distances.kid(x, y)) is float


@pytest.mark.parametrize(
    "call",
    [
        lambda: distances.kid(np.ones((1, 3)), np.ones((5, 3))),
        lambda: distances.kid(np.ones((5, 3)), np.ones((5, 4))),
        lambda: distances.kid(np.ones(5), np.ones(5)),
        lambda: distances.cmmd(np.ones((1, 3)), np.ones((5, 3))),
        lambda: distances.cmmd(np.ones((5, 3)), np.ones((5, 4))),
        lambda: distances.cmmd(np.full((5, 3), np.inf), np.ones((5, 3))),
        lambda: distances.paired_mmd(np.ones((5, 3)), np.ones((4, 3))),
        lambda: distances.paired_mmd(np.full((5, 3), np.nan), np.ones((5, 3))),
        lambda: distances.paired_sign_flip_test(np.ones((5, 3)), np.ones((5, 3)), draws=0),
    ],
)
def test_impossible_sets_are_refused(call):
    with pytest.raises(ValueError, match=r"must|need|cannot"):
        call()
