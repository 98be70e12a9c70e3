"""Measures the error rates of the paired rules, the bounded-mean rule and the kernel tests by simulation.

    python -m benchmarks.error_rates [--draws 10000] [--quick]

Every sample is drawn exactly at the margin, or under an exact null hypothesis, where errors are most frequent. The error
rates of the rules on a single rate need no simulation: tests/verdict/test_error_rates_exact.py sums them exactly. Prints a
Markdown table with an exact 95% interval (Clopper and Pearson) for each estimated rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dmun_audit.verdict import bounds, paired, paired_score
from dmun_audit.verdict.distances import paired_sign_flip_test, polynomial_kernel

Vector = NDArray[np.float64]
Prompts = list[tuple[int, float, float]]  # pairs, p10, p01
ALPHA = 0.05
PERMUTATIONS = 199
IMAGES, WIDTH, LIKENESS, SHIFT = 40, 16, 0.8, 0.5


@dataclass(frozen=True)
class Row:
    """One line of the table: how often an event happened in the draws, and its nominal rate."""

    rule: str
    sample: str
    what: str
    hits: int
    draws: int
    limit: str

    def __str__(self) -> str:
        low, high = (bound(self.hits, self.draws, 0.025) for bound in (bounds.lower_bound, bounds.upper_bound))
        return f"| {self.rule} | {self.sample} | {self.what} | {self.hits / self.draws:.4f} | {low:.4f} – {high:.4f} | {self.limit} |"


PAIRS: dict[str, tuple[int, float, Prompts]] = {
    "160 pairs, margin .15, no gains": (160, 0.15, [(160, 0.15, 0.0)]),
    "160 pairs, margin .15, p01 = .05": (160, 0.15, [(160, 0.2, 0.05)]),
    "160 pairs, margin .15, one concept in four ruined": (160, 0.15, [(40, 0.6, 0.0), (120, 0.0, 0.0)]),
    "160 pairs, margin .15, ten unequal concepts": (
        160,
        0.15,
        [(16, p10, p01) for p10, p01 in zip(np.linspace(0.0, 0.4, 10), np.linspace(0.1, 0.0, 10), strict=True)],
    ),
    "32 pairs, margin .25, p01 = .1": (32, 0.25, [(32, 0.35, 0.1)]),
    "16 pairs, margin .15, 9 always flip and 7 never": (16, 0.15, [(9, 19 / 30, 11 / 30), (7, 0.0, 0.0)]),
}


def paired_rows(draws: int, generator: np.random.Generator) -> Iterator[Row]:
    """False passes and false fails of both paired rules."""
    for name, (pairs, margin, prompts) in PAIRS.items():
        assert abs(sum(count * (p10 - p01) for count, p10, p01 in prompts) - pairs * margin) < 1e-9
        tables = sum(generator.multinomial(count, [p10, p01, 1.0 - p10 - p01], draws)[:, :2] for count, p10, p01 in prompts)
        outcomes, counts = np.unique(tables, axis=0, return_counts=True)
        rules: dict[str, Callable[[int, int], str]] = {
            "pooled bound": partial(_bound_verdict, pairs, margin),
            "score test": partial(_score_verdict, pairs, margin),
        }
        for rule, verdict_of in rules.items():
            limit = f"≤ {ALPHA}" if rule == "pooled bound" or len(prompts) == 1 else f"≤ {ALPHA} is not proven"
            verdicts = np.array([verdict_of(losses, gains) for losses, gains in outcomes.tolist()])
            for verdict, what in (("PASS", "false PASS"), ("FAIL", "false FAIL")):
                yield Row(rule, name, what, int(counts[verdicts == verdict].sum()), draws, limit)


def _bound_verdict(pairs: int, margin: float, losses: int, gains: int) -> str:
    return paired.accuracy_loss_at_most(losses, gains, pairs, margin, ALPHA, ALPHA).verdict


def _score_verdict(pairs: int, margin: float, losses: int, gains: int) -> str:
    """The verdict of `score_loss_at_most` without the bounds, whose computation is slow."""
    if paired_score.safety_p_value(losses, gains, pairs, margin, ALPHA) <= ALPHA:
        return "PASS"
    return "FAIL" if paired_score.harm_p_value(losses, gains, pairs, margin, ALPHA) < ALPHA else "INCONCLUSIVE"


MARGIN = 0.02


def _unequal_concepts(generator: np.random.Generator) -> Vector:
    means = np.repeat([0.14, *[0.0] * 6, *[0.02] * 3], 16)
    return np.asarray(means + generator.choice([-0.03, 0.03], 160))


MEANS: dict[str, Callable[[np.random.Generator], Vector]] = {
    "160 pairs, normal, sd .03": lambda g: g.normal(MARGIN, 0.03, 160),
    "160 pairs, rare losses": lambda g: np.where(g.random(160) < 0.1, 0.2, 0.0),
    "160 pairs, rare gains": lambda g: np.where(g.random(160) < 0.1, -0.16, 0.04),
    "160 pairs, as wide as the clip": lambda g: np.where(g.random(160) < 0.55, 0.2, -0.2),
    "160 pairs, one concept of ten ruined": _unequal_concepts,
    "16 pairs, normal, sd .03": lambda g: g.normal(MARGIN, 0.03, 16),
}


def mean_rows(draws: int, generator: np.random.Generator) -> Iterator[Row]:
    """False passes and false fails of the bounded-mean rule; the mean of the clipped differences is the margin."""
    for name, sample in MEANS.items():
        verdicts: list[str] = [
            paired.mean_difference_at_most(sample(generator), MARGIN, ALPHA, ALPHA).verdict for _ in range(draws)
        ]
        for verdict, what in (("PASS", "false PASS"), ("FAIL", "false FAIL")):
            yield Row("bounded mean", name, what, verdicts.count(verdict), draws, f"≤ {ALPHA}")


def same_seed_pairs(generator: np.random.Generator, shift: float = 0.0, likeness: float = LIKENESS) -> tuple[Vector, Vector]:
    """Embeddings (n, d) of base and candidate with the correlation `likeness`; without a shift, exchangeable within pairs.

    `shift` moves the candidate's mean along one direction, in standard deviations of an embedding's coordinate.
    """
    x, noise = generator.normal(size=(2, IMAGES, WIDTH))
    y = likeness * x + np.sqrt(1.0 - likeness**2) * noise
    y[:, 0] += shift
    return x, y


def ordinary_permutation_p_value(x: Vector, y: Vector, generator: np.random.Generator, draws: int = PERMUTATIONS) -> float:
    """The usual permutation test of the unbiased MMD²: it shuffles all images of both sides and ignores the pairs."""
    images, pooled = len(x), np.concatenate([x, y])
    gram = polynomial_kernel(pooled, pooled)
    np.fill_diagonal(gram, 0.0)
    sides = np.repeat([[1.0, 0.0]], images, axis=1)
    shuffled = generator.permuted(np.repeat(sides, draws, axis=0), axis=1)
    first = np.concatenate([sides, shuffled])
    second = 1.0 - first
    products = first @ gram
    within = (products * first).sum(axis=1) + ((second @ gram) * second).sum(axis=1)
    # Sums within a side leave out the diagonal. Sums across the sides keep every pair of images, as in the usual estimator.
    statistics = within / (images * (images - 1)) - 2.0 * (products * second).sum(axis=1) / images**2
    return float((1 + (statistics[1:] >= statistics[0] - 1e-12).sum()) / (1 + draws))


def kernel_rows(draws: int, generator: np.random.Generator) -> Iterator[Row]:
    """Rejections at 5% by the paired sign-flip test and by the usual permutation test, for pairs and for independent sets."""
    for likeness, shift, paired_limit, ordinary_limit in [
        (LIKENESS, 0.0, "= 0.05", "0.05 if it were valid"),
        (LIKENESS, SHIFT, "high", "high"),
        (0.0, 0.0, "= 0.05", "= 0.05"),
    ]:
        sign_flip = ordinary = 0
        for _ in range(draws):
            x, y = same_seed_pairs(generator, shift, likeness)
            seed = int(generator.integers(2**32))
            sign_flip += paired_sign_flip_test(x, y, draws=PERMUTATIONS, seed=seed).p_value <= ALPHA
            ordinary += ordinary_permutation_p_value(x, y, generator) <= ALPHA
        sample = f"{IMAGES} pairs, ρ = {likeness}, {f'shift {shift}' if shift else 'no difference'}"
        what = "power" if shift else "level"
        yield Row("paired sign flips", sample, what, sign_flip, draws, paired_limit)
        yield Row("ordinary permutations", sample, what, ordinary, draws, ordinary_limit)


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="200 draws, to check that it runs")
    arguments = parser.parse_args()
    draws = 200 if arguments.quick else arguments.draws
    print(f"{draws:,} draws a line; 95% intervals.\n")
    print("| rule | sample | what | rate | interval | nominal |\n|---|---|---|---|---|---|")
    for seed, rows in enumerate((paired_rows, kernel_rows, mean_rows)):
        for row in rows(draws, np.random.default_rng(seed)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
