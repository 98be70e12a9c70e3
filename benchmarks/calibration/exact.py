"""Exact probabilities of the verdicts of pooled rate claims, by dynamic programming over rounds. No images are involved.

Prompts differ. At one mean rate, all prompts may show the target equally often, or as few prompts as possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from benchmarks.calibration.caching import cached_statistics
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.claims import rate_at_most
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Verdict

RATES = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 0.8, 1.0)

TOLERANCE = 1e-9
"""Rates that differ by less are equal."""


def equal(rate: float, prompts: int) -> list[float]:
    """Every prompt shows the target at the same rate."""
    return [rate] * prompts


def concentrated(rate: float, prompts: int) -> list[float]:
    """The same mean rate from as few prompts as possible: some always show the target, one sometimes, the others never."""
    left = rate * prompts
    return [min(1.0, max(0.0, left - place)) for place in range(prompts)]


PATTERNS: dict[str, Callable[[float, int], list[float]]] = {"equal": equal, "concentrated": concentrated}


@dataclass(frozen=True)
class VerdictProbabilities:
    """Exact probabilities of the verdicts of a claim, and the mean number of images that it takes."""

    passed: float
    failed: float
    undecided: float
    images: float


def sequential_probabilities(claim: SequentialClaim, rates: Sequence[float], looks: Sequence[int]) -> VerdictProbabilities:
    """The probabilities for a claim that stops at the first of these looks that decides it.

    `looks` are ends of rounds. A round has one image of each prompt, and `rates` are the rates of the prompts.
    """
    hits_in_round, undecided = _hits_in_round(rates), np.ones(1)
    decided = {Verdict.PASS: 0.0, Verdict.FAIL: 0.0}
    images, rounds = 0.0, 0
    for end in looks:
        for _ in range(end - rounds):
            undecided = np.convolve(undecided, hits_in_round)
        rounds, trials = end, end * len(rates)
        for hits in np.flatnonzero(undecided):
            verdict = claim.step(OutcomeCounts(trials - int(hits), 0, int(hits)))
            if verdict in decided:
                decided[verdict] += float(undecided[hits])
                images += trials * float(undecided[hits])
                undecided[hits] = 0.0
    rest = float(undecided.sum())
    return VerdictProbabilities(decided[Verdict.PASS], decided[Verdict.FAIL], rest, images + rest * rounds * len(rates))


def fixed_probabilities(rates: Sequence[float], rounds: int, verdicts: Sequence[Verdict]) -> VerdictProbabilities:
    """The probabilities for a claim that is decided once, after all rounds. `verdicts` are the verdicts for 0, 1, … hits."""
    hits_in_round, probabilities = _hits_in_round(rates), np.ones(1)
    for _ in range(rounds):
        probabilities = np.convolve(probabilities, hits_in_round)
    total = dict.fromkeys((Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE), 0.0)
    for verdict, probability in zip(verdicts, probabilities, strict=True):
        total[verdict] += float(probability)
    images = float(rounds * len(rates))
    return VerdictProbabilities(total[Verdict.PASS], total[Verdict.FAIL], total[Verdict.INCONCLUSIVE], images)


def _hits_in_round(rates: Sequence[float]) -> np.ndarray:
    """The probabilities of 0, 1, … n hits in one round, shape (n + 1,), from the rates of n prompts."""
    probabilities = np.ones(1)
    for rate in rates:
        probabilities = np.convolve(probabilities, [1.0 - rate, rate])
    return probabilities


def wald_bound(rate: float, ceiling: float, alpha: float) -> float | None:
    """The bound log(1/alpha)/KL(rate‖ceiling) on the mean number of images that any test needs to prove a claim.

    None where the rate is not under the ceiling. Source: Wald, Sequential tests of statistical hypotheses, Annals of
    Mathematical Statistics 1945.
    """
    if rate >= ceiling - TOLERANCE:
        return None
    clean = (1 - rate) * math.log((1 - rate) / (1 - ceiling))
    hit = rate * math.log(rate / ceiling) if rate else 0.0
    return math.log(1 / alpha) / (clean + hit)


def wald_bound_of_pairs(lost: float, gained: float, margin: float, alpha: float) -> float | None:
    """The same bound for pairs that are lost and won at these rates.

    It is log(1/alpha) over the smallest KL divergence to outcomes whose mean is `margin`.
    """
    if lost - gained >= margin - TOLERANCE:
        return None
    values, probabilities = np.array([1.0, 0.0, -1.0]), np.array([lost, 1.0 - lost - gained, gained])
    stakes = np.linspace(0.0, 1.0 / (1.0 - margin), 20_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.where(probabilities > 0, np.log1p(np.outer(stakes, margin - values)) * probabilities, 0.0).sum(axis=1)
    return math.log(1 / alpha) / float(np.nanmax(growth))


def exact_probabilities(plan: Plan, fixed: Plan, members: Mapping[str, int]) -> list[dict[str, Any]]:
    """One row for each group, pattern and rate: with the stopping of `plan`, and at the fixed number of images of `fixed`.

    `members` says how many prompts the pooled claim of each group counts.
    """
    rows = []
    for name, count in members.items():
        group, rules, policy = claim_group(name), Rules(plan), plan.policy
        limits = group.limits(policy)
        assert limits is not None
        ceiling = limits.limit
        claim = SequentialClaim("rate", ceiling, ceiling, policy.alpha, plan.alpha_fail)
        rounds, fixed_rounds = group.rounds(plan, count), group.rounds(fixed, count)
        looks = rules.schedule(group, rounds) if rules.stops_early(group) else [rounds]
        trials = fixed_rounds * count
        decisions = [rate_at_most(hits, trials, ceiling, policy.alpha, fixed.alpha_fail) for hits in range(trials + 1)]
        verdicts = [decision.verdict for decision in decisions]
        for rate, (pattern, spread) in product(sorted({*RATES, ceiling}), PATTERNS.items()):
            rates = spread(rate, count)
            with cached_statistics():
                early = sequential_probabilities(claim, rates, looks)
            once = fixed_probabilities(rates, fixed_rounds, verdicts)
            row = {"group": name, "prompts": count, "ceiling": ceiling, "pattern": pattern, "rate": rate}
            rows.append(row | {"early": asdict(early), "fixed": asdict(once), "wald": wald_bound(rate, ceiling, policy.alpha)})
    return rows
