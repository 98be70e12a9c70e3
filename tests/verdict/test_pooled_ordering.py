"""Rank correlations over several audits: the mean, its interval, and the stratified permutation test."""

import itertools

import numpy as np
import pytest
from scipy import stats

from dmun_audit.verdict.ordering import fisher_interval, spearman
from dmun_audit.verdict.pooled_ordering import interval, pooled_spearman, ranked_concepts, weights

NAMES = [f"{place:03d}" for place in range(400)]


def audit(similarity, damage, block="Van Gogh", names=None):
    return ranked_concepts(block, names or NAMES[: len(similarity)], list(similarity), list(damage))


def normal_audit(generator, n, relation, block):
    x, noise = generator.normal(size=(2, n))
    return audit(x, relation * x + np.sqrt(1 - relation**2) * noise, block)


def spearman_of_normal(correlation):
    return 6.0 / np.pi * np.arcsin(correlation / 2.0)


def test_a_single_audit_has_the_rho_p_value_and_interval_of_its_report():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 9, (2, 25))
    alone, reported = pooled_spearman([audit(x, y)], draws=4_000), spearman(x, y, draws=4_000)
    assert alone.rho == pytest.approx(reported.rho)
    assert (alone.lower, alone.upper) == pytest.approx((reported.lower, reported.upper))
    assert alone.p_one_sided == pytest.approx(reported.p_one_sided, abs=0.03)
    assert (alone.audits, alone.blocks, alone.concepts) == (1, 1, 25)


def test_the_interval_is_that_of_bonett_for_audits_of_different_targets():
    """The published example of an average Spearman correlation: five studies, 0.206 with the interval 0.1476 to 0.2629."""
    sizes, rhos = np.array([150, 200, 300, 200, 350]), np.array([0.14, 0.29, 0.16, 0.21, 0.23])
    error = np.sqrt(sum((1 - rhos**2) ** 2 * (1 + rhos**2 / 2) / (sizes - 3))) / 5
    assert error == pytest.approx(0.02944265, abs=1e-8)
    assert interval(rhos.mean(), error, 0.0, 1.959964) == pytest.approx((0.14763960, 0.2629309), abs=1e-6)
    generator = np.random.default_rng(1)
    audits = [normal_audit(generator, int(n), 0.3, str(n + place)) for place, n in enumerate(sizes)]
    found = pooled_spearman(audits, draws=1)
    rhos = np.array([stats.spearmanr(each.similarity, each.damage).statistic for each in audits])
    assert found.rho == pytest.approx(rhos.mean())
    assert found.error == pytest.approx(np.sqrt(sum((1 - rhos**2) ** 2 * (1 + rhos**2 / 2) / (sizes - 3))) / 5)
    assert (found.lowest, found.highest) == pytest.approx((rhos.min(), rhos.max()))


def test_targets_count_alike_and_so_do_the_runs_of_one():
    audits = [audit([1, 2, 3, 4], [1, 2, 3, 4], block) for block in ("a", "a", "b")]
    assert weights(audits).tolist() == [0.25, 0.25, 0.5]


def test_the_stratified_permutation_test_is_that_of_all_orders():
    sides = [([0.1, 0.2, 0.4, 0.9], [0.0, 0.3, 0.2, 0.5]), ([0.3, 0.5, 0.6, 0.8], [0.2, 0.1, 0.4, 0.3])]
    observed = np.mean([stats.spearmanr(*side).statistic for side in sides])
    orders = list(itertools.permutations(range(4)))
    each = [[stats.spearmanr(np.array(x)[list(order)], y).statistic for order in orders] for x, y in sides]
    exact = np.mean([(a + b) / 2 >= observed - 1e-9 for a in each[0] for b in each[1]])
    together = np.mean([(a + b) / 2 >= observed - 1e-9 for a, b in zip(*each, strict=True)])
    apart = [audit(x, y, str(place)) for place, (x, y) in enumerate(sides)]
    assert pooled_spearman(apart, draws=20_000).p_one_sided == pytest.approx(exact, abs=0.01)
    alike = [audit(x, y) for x, y in sides]
    assert pooled_spearman(alike, draws=20_000).p_one_sided == pytest.approx(together, abs=0.01)
    assert exact != pytest.approx(together, abs=0.01)


def _rejections(generator, block_of):
    """Of 250 pairs of models of each of two targets: fragile concepts are damaged by both models, whatever their similarity."""
    rejected = 0
    for seed in range(250):
        audits = []
        for target in range(2):
            similarity, fragile = generator.normal(size=(2, 10))
            damages = 0.95 * fragile + np.sqrt(0.0975) * generator.normal(size=(2, 10))
            audits += [audit(similarity, damage, block_of(target, model)) for model, damage in enumerate(damages)]
        rejected += pooled_spearman(audits, draws=59, seed=seed).p_one_sided <= 0.05
    return rejected


def test_the_permutation_test_keeps_its_level_although_models_damage_the_same_fragile_concepts():
    level = _rejections(np.random.default_rng(2), lambda target, model: str(target))
    assert stats.binom.ppf(0.001, 250, 0.05) <= level <= stats.binom.ppf(0.999, 250, 0.05)
    naive = _rejections(np.random.default_rng(2), lambda target, model: f"{target} {model}")
    assert naive > stats.binom.ppf(0.999, 250, 0.05)  # what permuting each run by itself would do


@pytest.mark.parametrize(("relations", "between"), [((0.6, 0.6), 0.6), ((0.0, 0.0), 0.9), ((0.9, -0.7), -0.6)])
def test_the_interval_covers_the_mean_of_dependent_runs(relations, between):
    generator = np.random.default_rng(3)
    matrix = np.array([[1, *relations], [relations[0], 1, between], [relations[1], between, 1]])
    root = np.linalg.cholesky(matrix + 1e-9 * np.eye(3)).T
    true = (np.mean([spearman_of_normal(relation) for relation in relations]) + spearman_of_normal(0.4)) / 2
    covered = 0
    for _ in range(200):
        similarity, *damages = (generator.normal(size=(12, 3)) @ root).T
        audits = [audit(similarity, damage) for damage in damages] + [normal_audit(generator, 12, 0.4, "Monet")]
        found = pooled_spearman(audits, draws=1)
        covered += found.lower <= true <= found.upper
    assert covered >= stats.binom.ppf(0.001, 200, 0.935)


def test_runs_of_one_target_that_say_the_same_count_as_one():
    generator = np.random.default_rng(4)
    one = normal_audit(generator, 20, 0.5, "Van Gogh")
    twice = pooled_spearman([one, audit(one.similarity, one.damage)], draws=1)
    once = pooled_spearman([one], draws=1)
    assert (twice.rho, twice.error) == pytest.approx((once.rho, once.error))


def test_a_run_with_other_concepts_of_the_same_target_counts_by_those_that_both_have():
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(2, 20))
    first = audit(x, y)
    disjoint = audit(x, y, names=[f"other {name}" for name in NAMES[:20]])
    half = audit(x, y, names=[*NAMES[:10], *(f"other {name}" for name in NAMES[:10])])
    errors = [pooled_spearman([first, other], draws=1).error for other in (disjoint, half, audit(x, y))]
    assert errors == sorted(errors)
    assert errors[0] == pytest.approx(pooled_spearman([first], draws=1).error / np.sqrt(2))


def test_audits_without_a_rho_are_left_out():
    constant, few = audit([0.5] * 9, range(9)), audit([1, 2, 3], [1, 2, 3])
    assert constant.rho is None
    assert pooled_spearman([constant, few]).rho is None
    found = pooled_spearman([constant, few, audit(range(9), range(9))], draws=99)
    assert (found.rho, found.audits, found.p_one_sided) == (1.0, 1, 0.01)
    assert found.lower == pytest.approx(fisher_interval(1.0, 9, 0.95)[0], abs=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ranked_concepts("", ["a", "b"], [1, 2], [1]),
        lambda: ranked_concepts("", ["a", "a"], [1, 2], [1, 2]),
        lambda: ranked_concepts("", ["a", "b"], [1, float("nan")], [1, 2]),
        lambda: pooled_spearman([], draws=0),
        lambda: pooled_spearman([], confidence=1.0),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(ValueError, match=r"must|needs|similarities"):
        call()
