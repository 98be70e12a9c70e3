"""On same-seed pairs the sign-flip test keeps its level and finds a small shift; the ordinary permutation test does neither.

A smaller, seeded version of `benchmarks.error_rates`. A correct test meets each limit for all but one seed in a million.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.error_rates import ALPHA, PERMUTATIONS, SHIFT, ordinary_permutation_p_value, same_seed_pairs
from dmun_audit.verdict.distances import paired_sign_flip_test

SAMPLES = 400
RARE = 5e-7


def rejections(seed, *, shift=0.0, likeness=0.8):
    """How many of SAMPLES same-seed pairs of sets the paired test and the ordinary one call different."""
    generator = np.random.default_rng(seed)
    rejections = []
    for sample in range(SAMPLES):
        x, y = same_seed_pairs(generator, shift, likeness)
        paired = paired_sign_flip_test(x, y, draws=PERMUTATIONS, seed=sample).p_value
        rejections.append((paired <= ALPHA, ordinary_permutation_p_value(x, y, generator) <= ALPHA))
    return np.sum(rejections, axis=0)


def at_its_level(hits):
    return stats.binom.ppf(RARE, SAMPLES, ALPHA) <= hits <= stats.binom.isf(RARE, SAMPLES, ALPHA)


@pytest.mark.parametrize("likeness", [0.8, 0.95])
def test_on_exchangeable_pairs_the_paired_test_has_its_level_and_the_ordinary_one_rejects_nothing(likeness):
    paired, ordinary = rejections(1, likeness=likeness)
    assert at_its_level(paired)
    assert ordinary <= 3
    assert not at_its_level(ordinary)


def test_the_paired_test_finds_a_small_shift_that_the_ordinary_one_misses():
    paired, ordinary = rejections(2, shift=SHIFT)
    assert paired >= 0.7 * SAMPLES
    assert ordinary <= 0.02 * SAMPLES


def test_on_independent_sets_both_have_their_level():
    paired, ordinary = rejections(3, likeness=0.0)
    assert at_its_level(paired)
    assert at_its_level(ordinary)
