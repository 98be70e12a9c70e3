"""The pooled rate claims alone, without images: exact probabilities of every verdict, by dynamic programming over whole rounds.

Prompts differ: at one mean rate the images may leak from all prompts equally, or from as few of them as can carry it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from dmun_audit.decisions.group_claims import Rules

from benchmarks.calibration.remembering import remembered
from dmun_audit.plan.plan import Group, Plan
from dmun_audit.verdict.claims import rate_at_most
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Verdict

RATES = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 0.8, 1.0)

_EQUAL = 1e-9


def equal(rate: float, prompts: int) -> list[float]:
    """Every prompt leaks at the same rate."""
    return [rate] * prompts


def concentrated(rate: float, prompts: int) -> list[float]:
    """The same mean from as few prompts as can carry it: some always leak, one sometimes, the others never."""
    left = rate * prompts
    return [min(1.0, max(0.0, left - place)) for place in range(prompts)]


PATTERNS: dict[str, Callable[[float, int], list[float]]] = {"equal": equal, "concentrated": concentrated}


@dataclass(frozen=True)
class Chances:
    """Exact probabilities of a claim's verdicts, and the mean number of images at which it stops."""

    passed: float
    failed: float
    undecided: float
    images: float


def of_sum(rates: Sequence[float]) -> np.ndarray:
    """Probabilities of 0 … n hits in one image of each prompt, shape (n + 1,)."""
    chances = np.ones(1)
    for rate in rates:
        chances = np.convolve(chances, [1.0 - rate, rate])
    return chances


def sequential_chances(claim: SequentialClaim, rates: Sequence[float], looks: Sequence[int]) -> Chances:
    """A claim looked at after these rounds of one image of each prompt."""
    one, state, round_, ended = of_sum(rates), np.ones(1), 0, {"PASS": 0.0, "FAIL": 0.0}
    images = 0.0
    for end in looks:
        for _ in range(end - round_):
            state = np.convolve(state, one)
        round_, trials = end, end * len(rates)
        for hits in np.flatnonzero(state):
            verdict = claim.step(OutcomeCounts(trials - int(hits), 0, int(hits)))
            if verdict in ended:
                ended[verdict] += float(state[hits])
                images += trials * float(state[hits])
                state[hits] = 0.0
    left = float(state.sum())
    return Chances(ended["PASS"], ended["FAIL"], left, images + left * round_ * len(rates))


def fixed_chances(rates: Sequence[float], rounds: int, verdicts: Sequence[Verdict]) -> Chances:
    """A claim decided once, after so many rounds: `verdicts` says how, for 0, 1, … hits."""
    state, trials = np.ones(1), rounds * len(rates)
    for _ in range(rounds):
        state = np.convolve(state, of_sum(rates))
    found = {"PASS": 0.0, "FAIL": 0.0, "INCONCLUSIVE": 0.0}
    for verdict, chance in zip(verdicts, state, strict=True):
        found[verdict] += float(chance)
    return Chances(found["PASS"], found["FAIL"], found["INCONCLUSIVE"], float(trials))


def wald(rate: float, ceiling: float, alpha: float) -> float | None:
    """Wald's bound: log(1/alpha)/KL(rate‖ceiling) images, fewer than which no test can need on average to prove the claim; None
    where the rate is not under the ceiling."""
    if rate >= ceiling - _EQUAL:
        return None
    clean = (1 - rate) * math.log((1 - rate) / (1 - ceiling))
    hit = rate * math.log(rate / ceiling) if rate else 0.0
    return math.log(1 / alpha) / (clean + hit)


def wald_of_pairs(lost: float, gained: float, margin: float, alpha: float) -> float | None:
    """The same for pairs lost and won at these rates: log(1/alpha) over the least KL divergence to outcomes of mean `margin`."""
    if lost - gained >= margin - _EQUAL:
        return None
    values, chances = np.array([1.0, 0.0, -1.0]), np.array([lost, 1.0 - lost - gained, gained])
    stakes = np.linspace(0.0, 1.0 / (1.0 - margin), 20_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = np.where(chances > 0, np.log1p(np.outer(stakes, margin - values)) * chances, 0.0).sum(axis=1)
    return math.log(1 / alpha) / float(np.nanmax(grown))


def simulate(plan: Plan, fixed: Plan, members: dict[Group, int]) -> list[dict[str, Any]]:
    """A row for each group, pattern and rate, under the policy's stopping and at a fixed number of images."""
    rows = []
    for group, count in members.items():
        policy, rules = plan.policy, Rules(plan)
        ceiling = policy.erasure.ceiling if group == "erasure" else policy.adversarial.ceiling
        claim = SequentialClaim("rate", ceiling, ceiling, policy.alpha, plan.alpha_fail)
        planned, once = rules.rounds(group, count), Rules(fixed).rounds(group, count)
        looks = rules.schedule(group, planned) if rules.early(group) else [planned]
        trials = once * count
        verdicts = [rate_at_most(n, trials, ceiling, policy.alpha, fixed.alpha_fail).verdict for n in range(trials + 1)]
        for rate, (pattern, spread) in product(sorted({*RATES, ceiling}), PATTERNS.items()):
            rates = spread(rate, count)
            with remembered():
                early = sequential_chances(claim, rates, looks)
            about: dict[str, Any] = {"group": group, "prompts": count, "ceiling": ceiling, "pattern": pattern, "rate": rate}
            about |= {"early": asdict(early), "fixed": asdict(fixed_chances(rates, once, verdicts))}
            rows.append(about | {"wald": wald(rate, ceiling, policy.alpha)})
    return rows
