"""How often the intervals of orderings hold the truth, and how much power the numbers of concepts give: `python -m benchmarks.orderings`.

Damage and similarities are drawn from a normal distribution with known correlations, so the true Spearman correlations are known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dmun_audit.verdict.concepts_needed import concepts_needed
from dmun_audit.verdict.ordering import spearman
from dmun_audit.verdict.pooled_ordering import RankedConcepts, pooled_spearman, ranked_concepts
from dmun_audit.verdict.rank_differences import rank_correlation_difference

SIZES = (8, 10, 20, 40)
SOURCES = (
    (0, 0, 0),
    (0, 0, 0.8),
    (0.5, 0.5, 0.5),
    (0.5, 0.5, 0.9),
    (0.8, 0.8, 0.8),
    (0.7, 0.2, 0.3),
    (0.95, 0.6, 0.6),
    (0.98, 0.98, 0.97),
)
"""Correlation of damage with the first source, with the second one, and of the two sources."""

TARGETS: dict[str, list[tuple[tuple[float, ...], float]]] = {
    "five targets": [((0.3,), 0.0)] * 5,
    "two models of one target, and another target": [((0.5, 0.5), 0.5), ((0.5,), 0.0)],
    "models that damage the same fragile concepts": [((0.0, 0.0), 0.9), ((0.0,), 0.0)],
    "models that damage opposite concepts": [((0.9, -0.7), -0.6), ((0.5,), 0.0)],
}
"""For each target: the correlation of the similarity with each model's damage, and of the models' damages."""


def rho_of(correlation: float) -> float:
    """Spearman's rho of a normal pair with this correlation."""
    return float(6.0 / np.pi * np.arcsin(correlation / 2.0))


def drawn(generator: np.random.Generator, n: int, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal variables (v, n) with this correlation matrix (v, v)."""
    root = np.linalg.cholesky(matrix + 1e-9 * np.eye(len(matrix)))
    return np.asarray(root @ generator.normal(size=(len(matrix), n)))


def differences(generator: np.random.Generator, draws: int) -> Iterator[str]:
    """Coverage of the interval of a difference, and how often a test at the 5% level tells the two apart."""
    for n in SIZES:
        for first, second, between in SOURCES:
            matrix = np.array([[1, first, second], [first, 1, between], [second, between, 1]], dtype=float)
            true, held, told = rho_of(first) - rho_of(second), 0, 0
            for _ in range(draws):
                damage, one, other = drawn(generator, n, matrix)
                found = rank_correlation_difference(one, other, damage)
                held += found.lower is not None and found.upper is not None and found.lower <= true <= found.upper
                told += found.p_two_sided is not None and found.p_two_sided <= 0.05
            yield f"{n:3} concepts, correlations {first}, {second}, {between}: holds {held / draws:.1%}, told apart {told / draws:.1%}"


def pooled(generator: np.random.Generator, draws: int) -> Iterator[str]:
    """Coverage of the interval of a mean over runs, and how often its permutation test finds it at the 5% level."""
    for n in SIZES[:3]:
        for name, targets in TARGETS.items():
            true = float(np.mean([np.mean([rho_of(relation) for relation in relations]) for relations, _ in targets]))
            held = found_so = 0
            for draw in range(draws):
                audits = [audit for place, target in enumerate(targets) for audit in _runs(generator, n, str(place), *target)]
                found = pooled_spearman(audits, draws=99, seed=draw)
                held += found.lower is not None and found.upper is not None and found.lower <= true <= found.upper
                found_so += found.p_one_sided is not None and found.p_one_sided <= 0.05
            yield f"{n:3} concepts, {name} (true mean {true:.2f}): holds {held / draws:.1%}, found {found_so / draws:.1%}"


def _runs(
    generator: np.random.Generator, n: int, target: str, relations: tuple[float, ...], between: float
) -> list[RankedConcepts]:
    matrix = np.full((len(relations) + 1, len(relations) + 1), between)
    matrix[0, 1:] = matrix[1:, 0] = relations
    np.fill_diagonal(matrix, 1.0)
    similarity, *damages = drawn(generator, n, matrix)
    names = [f"{place:03}" for place in range(n)]
    return [ranked_concepts(target, names, similarity.tolist(), damage.tolist()) for damage in damages]


def power(generator: np.random.Generator, draws: int) -> Iterator[str]:
    """The power of the numbers of concepts that the report names."""
    for relation in (0.2, 0.3, 0.5, 0.7, 0.85):
        rho = rho_of(relation)
        n = concepts_needed(rho) or 0
        matrix = np.array([[1, relation], [relation, 1]])
        hits = 0
        for draw in range(draws):
            similarity, damage = drawn(generator, n, matrix)
            hits += (spearman(similarity, damage, draws=199, seed=draw).p_one_sided or 1.0) <= 0.05
        yield f"rho {rho:.2f} is found with {n} concepts: {hits / draws:.1%}"
    for first, second, between in ((0.8, 0.2, 0.3), (0.7, 0.3, 0.5), (0.85, 0.5, 0.6), (0.95, 0.6, 0.6), (0.4, 0.0, 0.2)):
        matrix = np.array([[1, first, second], [first, 1, between], [second, between, 1]])
        many = drawn(generator, 20_000, matrix)
        n = rank_correlation_difference(many[1], many[2], many[0]).needed or 0
        hits = 0
        for _ in range(draws):
            damage, one, other = drawn(generator, n, matrix)
            hits += (rank_correlation_difference(one, other, damage).p_two_sided or 1.0) <= 0.05
        yield f"rhos {rho_of(first):.2f} and {rho_of(second):.2f} are told apart with {n} concepts: {hits / draws:.1%}"


PARTS: dict[str, Callable[[np.random.Generator, int], Iterator[str]]] = {
    "The difference of two sources": differences,
    "The mean over runs": pooled,
    "The numbers of concepts": power,
}


def main() -> None:
    """Print every line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1_000, help="drawn audits of each line (default: 1000)")
    draws = parser.parse_args().draws
    for title, part in PARTS.items():
        print(title)
        for line in part(np.random.default_rng(0), draws):
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
