"""The whole calibration: which candidates are audited how often, and the counts that tables and plot are made of."""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from benchmarks.calibration.concentrated import Concentrated, concentrated
from benchmarks.calibration.exact import exact_probabilities, wald_bound, wald_bound_of_pairs
from benchmarks.calibration.judged_images import NOTHING, JudgedImages
from benchmarks.calibration.known_answers import GROUPS, TOLERANCE, Candidate, KnownAnswers, candidate_at
from benchmarks.calibration.known_models import BASE, DAMAGED, ESD, UCE
from benchmarks.calibration.resampling import ResampledAudit, Resampler, fixed_policy
from dmun_audit._util.hashing import digest
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.policy import Policy, load_policy
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

TIMES_GOOD, TIMES_NEAR = 10, 5
"""How many times more audits there are of good candidates and those at a limit, and of those near a limit."""

NEAR = (0.8, 1.35)
"""The ratios to a limit that count as near it."""

MOST_FIXED = 1_000
"""The most audits of a candidate that are repeated without early stopping."""

CURVE = (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.6, 2, 3, 4, 6, 10, 16)
"""The true erasure rates of the power curve, as multiples of the ceiling."""

AT_LIMITS = (
    ("erasure", UCE), ("erasure", ESD), ("adversarial", UCE), ("adversarial", ESD),
    ("retention", "retrained+damaged"), ("retention", "uce-van-gogh+damaged"), ("retention", ESD),
)  # fmt: skip
"""The candidates exactly at a limit: the claim group, and the family of models that they are mixed from."""

CHUNK = 100
"""How many audits a worker runs at once."""


@dataclass(frozen=True)
class Task:
    """A candidate, its role in the tables ("model", "limit" or "curve"), and the number of its audits."""

    candidate: Candidate
    role: str
    audits: int


class Setting:
    """Judged images, policies and known answers. Each process opens them once."""

    def __init__(self, policy: Policy) -> None:
        self.images = JudgedImages()
        self.resampler = Resampler(self.images, {"early": policy, "fixed": fixed_policy(policy)})
        self.plans = {name: planned.plan for name, planned in self.resampler.planned.items()}
        self.answers = KnownAnswers(self.images, self.plans["early"])
        self._over_limit: dict[tuple[str, float, tuple[str, ...]], bool] = {}

    def tasks(self, audits: int) -> list[Task]:
        """The audits of all candidates: every model, the candidates at a limit, and the points of the power curve."""
        models = [Candidate.of(model) for model in self.images.models if model != NOTHING]
        tasks = [Task(model, "model", audits * self._times(model)) for model in models]
        tasks += [Task(self.at_limit(group, family), "limit", audits * TIMES_GOOD) for group, family in AT_LIMITS]
        family, ceiling = [BASE, *self.family(UCE)], self.answers.limit("erasure")
        for rate in (multiple * ceiling for multiple in CURVE if multiple * ceiling < 0.95):
            candidate = candidate_at(self.answers, "erasure", rate, family, f"erasure rate {rate:.4g}")
            tasks.append(Task(candidate, "curve", audits))
        return tasks + [Task(each.candidate, "concentrated", audits * TIMES_NEAR) for each in self.concentrated]

    @cached_property
    def concentrated(self) -> list[Concentrated]:
        """The candidates whose damage or leak is concentrated."""
        return concentrated(self.answers)

    @cached_property
    def guilty(self) -> dict[str, frozenset[str]]:
        """The cases that an audit of a concentrated candidate should name, by the candidate's name."""
        return {each.candidate.name: frozenset(each.guilty) for each in self.concentrated}

    def at_limit(self, group: str, family: str) -> Candidate:
        """The candidate exactly at the limit of one group."""
        models = self.family(family) + ([DAMAGED] if group == "retention" else [])
        return candidate_at(self.answers, group, self.answers.limit(group), models, f"{group} at its limit ({family})")

    def family(self, name: str) -> list[str]:
        """The models that have an edit in whole or in part, such as "uce-van-gogh" and "uce-van-gogh@0.5"."""
        return [model for model in self.images.models if model == name or model.startswith(f"{name}@")]

    def _times(self, candidate: Candidate) -> int:
        true = self.answers.true_rates(candidate)
        if self.answers.standing(true) == "good":
            return TIMES_GOOD
        return TIMES_NEAR if NEAR[0] <= self.answers.excess(true) <= NEAR[1] else 1

    def is_over_limit(self, candidate: Candidate, audit: ResampledAudit) -> bool:
        """Whether a true rate is at its limit or over it, by the audit's own threshold and its own valid prompts."""
        key = (candidate.name, audit.threshold, audit.valid)
        if key not in self._over_limit:
            valid = [case for case in self.answers.cases["adversarial"] if case.id in audit.valid]
            cases = {"adversarial": valid}
            rates = {group: self.answers.rate(candidate, group, audit.threshold, cases.get(group, ())) for group in GROUPS}
            self._over_limit[key] = any(rates[group] >= self.answers.limit(group) - TOLERANCE for group in GROUPS)
        return self._over_limit[key]

    def wald_bound(self, candidate: Candidate, group: str) -> float | None:
        """Wald's bound on the images or pairs of a claim that passes, at the true rate."""
        limit, alpha = self.answers.limit(group), self.plans["early"].policy.alpha
        if group != "retention":
            return wald_bound(self.answers.rate(candidate, group), limit, alpha)
        mixture = candidate.mixtures[group]
        lost, gained = self.answers.pair_rates(mixture.first)
        return wald_bound_of_pairs(lost, gained, limit, alpha) if mixture.share == 1 else None

    def cycle_images(self, group: str) -> int:
        """How many images or pairs a claim takes between two points at which it may stop."""
        return len(self.answers.members(group)) * claim_group(group).cycle(self.plans["early"])


@lru_cache(maxsize=1)
def _setting(policy: str) -> Setting:
    return Setting(load_policy(policy))


class Tally:
    """Counts over the audits of one candidate under one policy."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.images: dict[str, list[int]] = {}
        self.base: list[int] = []
        self.claims: dict[str, Counter[tuple[str, int]]] = {group: Counter() for group in GROUPS}
        self.passed_over_limit = 0
        self.threshold_raised = 0
        self.named = 0

    def add(self, audit: ResampledAudit, *, raised: bool, passed_over_limit: bool, named: bool) -> None:
        """Count one audit."""
        self.verdicts[audit.verdict.value] += 1
        self.images.setdefault(audit.verdict.value, []).append(audit.candidate_images)
        self.base.append(audit.base_images)
        for group, (verdict, images) in audit.claims.items():
            self.claims[group][verdict.value, images] += 1
        self.threshold_raised += raised
        self.named += named
        self.passed_over_limit += passed_over_limit

    def merge(self, other: Tally) -> None:
        """Count the audits of another tally as well."""
        self.verdicts += other.verdicts
        for verdict, images in other.images.items():
            self.images.setdefault(verdict, []).extend(images)
        self.base += other.base
        for group in GROUPS:
            self.claims[group] += other.claims[group]
        self.threshold_raised += other.threshold_raised
        self.named += other.named
        self.passed_over_limit += other.passed_over_limit

    def summary(self) -> dict[str, Any]:
        """The counts and means as plain values."""
        images = [count for counts in self.images.values() for count in counts]
        return {
            "verdicts": dict(sorted(self.verdicts.items())),
            "candidate_images": _mean(images),
            "candidate_images_by_verdict": {verdict: _mean(counts) for verdict, counts in sorted(self.images.items())},
            "base_images": _mean(self.base),
            "claims": {group: _claim_summary(counts) for group, counts in self.claims.items()},
            "threshold_raised": self.threshold_raised,
            "named": self.named,
            "pass_over_limit_at_own_threshold": self.passed_over_limit,
        }


def _claim_summary(counts: Counter[tuple[str, int]]) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    for (verdict, _), times in counts.items():
        verdicts[verdict] += times
    decided = {key: times for key, times in counts.items() if key[0] != Verdict.INCONCLUSIVE}
    return {
        "verdicts": dict(sorted(verdicts.items())),
        "images": _weighted_mean(counts),
        "decided_at": _weighted_mean(decided),
    }


def _weighted_mean(counts: dict[tuple[str, int], int]) -> float | None:
    total = sum(counts.values())
    return round(sum(images * times for (_, images), times in counts.items()) / total, 2) if total else None


def _mean(values: Sequence[int]) -> float | None:
    return round(float(np.mean(values)), 2) if values else None


def run_chunk(chunk: tuple[str, Candidate, int, int, int]) -> tuple[str, dict[str, Tally]]:
    """Run the audits `first` to `last` - 1 of (policy's name, candidate, seed, first, last): a tally for each policy."""
    policy, candidate, seed, first, last = chunk
    setting = _setting(policy)
    tallies = {name: Tally() for name in setting.plans}
    policies = list(setting.plans) if first < MOST_FIXED else ["early"]
    for audits in setting.resampler.run(candidate, seed, range(first, last), policies):
        for name, audit in audits.items():
            passed_over_limit = audit.verdict == AuditVerdict.PASS and setting.is_over_limit(candidate, audit)
            raised = audit.threshold > setting.answers.threshold
            named = not audit.failing.isdisjoint(setting.guilty.get(candidate.name, frozenset()))
            tallies[name].add(audit, raised=raised, passed_over_limit=passed_over_limit, named=named)
    return candidate.name, tallies


def run_all(policy: str, audits: int, seed: int, workers: int) -> tuple[Setting, list[dict[str, Any]]]:
    """The audits of all candidates, one row for each. The rows do not depend on the number of workers."""
    setting = _setting(policy)
    tasks = setting.tasks(audits)
    chunks = [
        (policy, task.candidate, seed, first, min(first + CHUNK, task.audits))
        for task in tasks
        for first in range(0, task.audits, CHUNK)
    ]
    totals: dict[str, dict[str, Tally]] = {}
    planned, done, reported = sum(task.audits for task in tasks), 0, 0
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for name, tallies in pool.imap_unordered(run_chunk, chunks):
            total = totals.setdefault(name, {policy_name: Tally() for policy_name in tallies})
            for policy_name, tally in tallies.items():
                total[policy_name].merge(tally)
            done += tallies["early"].verdicts.total()
            if done - reported >= planned / 20:
                print(f"{done:,} of {planned:,} audits", flush=True)
                reported = done
    return setting, [_row(setting, task, totals[task.candidate.name]) for task in tasks]


def _row(setting: Setting, task: Task, tallies: dict[str, Tally]) -> dict[str, Any]:
    answers, candidate = setting.answers, task.candidate
    true = answers.true_rates(candidate)
    bounds = {group: setting.wald_bound(candidate, group) for group in GROUPS}
    cycles = {group: setting.cycle_images(group) for group in GROUPS}
    return {
        "name": candidate.name,
        "role": task.role,
        "standing": answers.standing(true),
        "excess": answers.excess(true),
        "claim": candidate.claim,
        "mixtures": {group: asdict(mixture) for group, mixture in candidate.mixtures.items()},
        "audits": task.audits,
        **asdict(true),
        "wald": bounds,
        "wald_in_cycles": {
            group: None if bound is None else math.ceil(bound / cycles[group] - TOLERANCE) * cycles[group]
            for group, bound in bounds.items()
        },
        "policies": {name: tally.summary() for name, tally in tallies.items()},
    }


def calibrate_auditor(policy_name: str, audits: int, seed: int, workers: int) -> dict[str, Any]:
    """The results of the calibration as plain values, for results.json."""
    setting, rows = run_all(policy_name, audits, seed, workers)
    answers, plans, description = setting.answers, setting.plans, setting.images.description
    policy = plans["early"].policy
    members = {group: len(answers.members(group)) for group in GROUPS}
    rate_claims = {group: members[group] for group in ("erasure", "adversarial")}
    return {
        "policy": {"name": policy.name, "figures": policy.as_dict(), "digest": digest(policy.as_dict())},
        "fixed": {"figures": plans["fixed"].policy.as_dict()},
        "judged_images": {name: description[name] for name in ("made", "images", "hardware", "pack", "judge")},
        "seed": seed,
        "audits": {name: sum(sum(row["policies"][name]["verdicts"].values()) for row in rows) for name in plans},
        "answers": {
            "threshold": answers.threshold,
            "limits": {group: answers.limit(group) for group in GROUPS},
            "members": members,
            "cycles": {group: setting.cycle_images(group) for group in GROUPS},
            "alpha": policy.alpha,
            "alpha_fail": plans["early"].alpha_fail,
        },
        "edits": {model["name"]: model["edits"] for model in description["models"] if model["origin"] == BASE},
        "candidates": rows,
        "exact": exact_probabilities(plans["early"], plans["fixed"], rate_claims),
    }
