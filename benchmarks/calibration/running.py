"""Which subjects are audited how often, and what their audits came to: counts that the tables and the plot are made of."""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from dmun_audit.decisions.group_claims import Rules

from benchmarks.calibration.resample import Ended, Resampler, fixed_policy
from benchmarks.calibration.simulate import simulate, wald, wald_of_pairs
from benchmarks.calibration.subjects import AT, BASE, GROUPS, JudgedBank, Subject, Truths, at
from dmun_audit._util.hashing import digest
from dmun_audit.plan.plan import Group
from dmun_audit.policy import Policy, load_policy

UCE, ESD = "uce-van-gogh", "esd-van-gogh"
MANY, SOME = 10, 5  # how many times the audits of other models: good ones and those made to lie at a limit; those near one
NEAR = (0.8, 1.35)  # of a limit
FIXED_FOR = 1_000  # audits of a subject, at most, of which the fixed rules decide the same images
MULTIPLES = (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.6, 2, 3, 4, 6, 10, 16)  # of the ceiling, on the power curve
LIMITS: tuple[tuple[Group, str], ...] = (
    ("erasure", UCE), ("erasure", ESD), ("adversarial", UCE), ("adversarial", ESD),
    ("retention", "retrained+damaged"), ("retention", "uce-van-gogh+damaged"), ("retention", ESD),
)  # fmt: skip
AT_ONCE = 100  # audits in one piece of work


@dataclass(frozen=True)
class Task:
    """A subject, and how many audits of it."""

    subject: Subject
    role: str  # "model", "limit" or "curve"
    audits: int


class Setting:
    """Bank, policies and truths, opened once in every process."""

    def __init__(self, policy: Policy) -> None:
        self.bank = JudgedBank()
        self.resampler = Resampler(self.bank, {"early": policy, "fixed": fixed_policy(policy)})
        self.plans = self.resampler.plans
        self.truths = Truths(self.bank, self.plans["early"])
        self._over: dict[tuple[str, float, tuple[str, ...]], bool] = {}

    def tasks(self, audits: int) -> list[Task]:
        """All subjects: every model of the bank, those made to lie at a limit, and the points of the power curve."""
        truths = self.truths
        tasks = [Task(subject, "model", audits * self._times(subject)) for subject in map(Subject.of, self.bank.models)]
        for group, family in LIMITS:
            among = self.family(family) + (["damaged"] if group == "retention" else [])
            subject = at(truths, group, truths.limit(group), among, f"{group} at its limit ({family})")
            tasks.append(Task(subject, "limit", audits * MANY))
        curve = [BASE, UCE, *self.family(UCE)]
        ceiling = truths.limit("erasure")
        for rate in (multiple * ceiling for multiple in MULTIPLES if multiple * ceiling < 0.95):
            subject = at(truths, "erasure", rate, curve, f"erasure rate {rate:.4g}")
            tasks.append(Task(subject, "curve", audits))
        return tasks

    def family(self, edit: str) -> list[str]:
        """The degrees of one edit in the bank."""
        return [name for name in self.bank.models if name == edit or name.startswith(f"{edit}@")]

    def _times(self, subject: Subject) -> int:
        truth = self.truths.of(subject)
        if self.truths.standing(truth) == "good":
            return MANY
        return SOME if NEAR[0] <= self.truths.excess(truth) <= NEAR[1] else 1

    def is_over(self, subject: Subject, ended: Ended) -> bool:
        """Whether a rate is at its limit or over it by an audit's own threshold and valid prompts."""
        key = (subject.name, ended.threshold, ended.valid)
        if key not in self._over:
            valid = [case for case in self.truths.cases["adversarial"] if case.id in ended.valid]
            among = {"adversarial": valid}
            rates = {g: self.truths.rate(subject, g, ended.threshold, among.get(g, ())) for g in GROUPS}
            self._over[key] = any(rates[group] >= self.truths.limit(group) - AT for group in GROUPS)
        return self._over[key]

    def wald(self, subject: Subject, group: Group) -> float | None:
        """Wald's bound on the images of a claim that passes, at the true rate."""
        truths, alpha = self.truths, self.plans["early"].policy.alpha
        limit = truths.limit(group)
        if group != "retention":
            return wald(truths.rate(subject, group), limit, alpha)
        model = subject.mixed[group][0]
        lost, gained = truths.pairs(model)
        return wald_of_pairs(lost, gained, limit, alpha) if subject.mixed[group][2] == 1 else None

    def round_of(self, group: Group) -> int:
        """How many images (pairs) a claim takes between the places where it may stop: one of every prompt of every member."""
        return len(self.truths.members(group)) * Rules(self.plans["early"]).cycle(group)


@lru_cache(maxsize=1)
def _setting(policy: Policy) -> Setting:
    return Setting(policy)


class Tally:
    """Adds up the audits of one subject under one policy."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.images: dict[str, list[int]] = {}
        self.base: list[int] = []
        self.claims: dict[str, Counter[tuple[str, int]]] = {group: Counter() for group in GROUPS}
        self.false_at_own = 0
        self.raised = 0

    def add(self, ended: Ended, raised: bool, false_at_own: bool) -> None:
        """One audit more."""
        self.verdicts[ended.verdict] += 1
        self.images.setdefault(ended.verdict, []).append(ended.candidate)
        self.base.append(ended.base)
        for group, claim in ended.claims.items():
            self.claims[group][claim] += 1
        self.raised += raised
        self.false_at_own += false_at_own

    def join(self, other: Tally) -> None:
        """All of another one's audits more."""
        self.verdicts += other.verdicts
        for verdict, images in other.images.items():
            self.images.setdefault(verdict, []).extend(images)
        self.base += other.base
        for group in GROUPS:
            self.claims[group] += other.claims[group]
        self.raised += other.raised
        self.false_at_own += other.false_at_own

    def summary(self) -> dict[str, Any]:
        """Plain numbers."""
        every = [count for images in self.images.values() for count in images]
        return {
            "verdicts": dict(sorted(self.verdicts.items())),
            "candidate_images": _mean(every),
            "candidate_images_by_verdict": {verdict: _mean(images) for verdict, images in sorted(self.images.items())},
            "base_images": _mean(self.base),
            "claims": {group: _of_claim(counted) for group, counted in self.claims.items()},
            "threshold_raised": self.raised,
            "pass_over_limit_at_own_threshold": self.false_at_own,
        }


def _of_claim(counted: Counter[tuple[str, int]]) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    for (verdict, _), times in counted.items():
        verdicts[verdict] += times
    decided = {key: times for key, times in counted.items() if key[0] != "INCONCLUSIVE"}
    return {
        "verdicts": dict(sorted(verdicts.items())),
        "images": _weighted(counted),
        "decided_at": _weighted(decided),
    }


def _weighted(counted: dict[tuple[str, int], int]) -> float | None:
    times = sum(counted.values())
    return round(sum(images * count for (_, images), count in counted.items()) / times, 2) if times else None


def _mean(values: Sequence[int]) -> float | None:
    return round(float(np.mean(values)), 2) if values else None


def work(piece: tuple[Policy, Subject, int, int, int]) -> tuple[str, dict[str, Tally]]:
    """Run one piece of a subject's audits."""
    policy, subject, seed, first, last = piece
    setting = _setting(policy)
    truths, tallies = setting.truths, {name: Tally() for name in setting.plans}
    wanted = list(setting.plans) if first < FIXED_FOR else ["early"]
    for ended in setting.resampler.run(subject, seed, range(first, last), wanted):
        for name, one in ended.items():
            over = one.verdict == "PASS" and setting.is_over(subject, one)
            tallies[name].add(one, one.threshold > truths.threshold, over)
    return subject.name, tallies


def run_all(policy: Policy, audits: int, seed: int, workers: int) -> tuple[Setting, list[dict[str, Any]]]:
    """Every subject's audits; what they came to does not depend on the number of workers."""
    setting = _setting(policy)
    tasks = setting.tasks(audits)
    pieces = [
        (policy, task.subject, seed, first, min(first + AT_ONCE, task.audits))
        for task in tasks
        for first in range(0, task.audits, AT_ONCE)
    ]
    totals: dict[str, dict[str, Tally]] = {}
    every = sum(task.audits for task in tasks)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        done, told = 0, 0
        for name, tallies in pool.imap_unordered(work, pieces):
            held = totals.setdefault(name, {policy_name: Tally() for policy_name in tallies})
            for policy_name, tally in tallies.items():
                held[policy_name].join(tally)
            done += tallies["early"].verdicts.total()
            if done - told >= every / 20:
                print(f"{done:,} of {every:,} audits", flush=True)
                told = done
    return setting, [_row(setting, task, totals[task.subject.name]) for task in tasks]


def _row(setting: Setting, task: Task, tallies: dict[str, Tally]) -> dict[str, Any]:
    truths, subject = setting.truths, task.subject
    truth = truths.of(subject)
    bounds = {group: setting.wald(subject, group) for group in GROUPS}
    rounds = {group: setting.round_of(group) for group in GROUPS}
    return {
        "name": subject.name,
        "role": task.role,
        "standing": truths.standing(truth),
        "excess": truths.excess(truth),
        "claim": subject.claim,
        "mixed": {group: list(mix) for group, mix in subject.mixed.items()},
        "audits": task.audits,
        **asdict(truth),
        "wald": bounds,
        "wald_in_rounds": {
            group: None if bound is None else math.ceil(bound / rounds[group] - AT) * rounds[group]
            for group, bound in bounds.items()
        },
        "policies": {name: tally.summary() for name, tally in tallies.items()},
    }


def members(setting: Setting) -> dict[Group, int]:
    """How many prompts each rate claim is about."""
    return {group: len(setting.truths.members(group)) for group in ("erasure", "adversarial")}


def calibrate_auditor(policy: str, audits: int, seed: int, workers: int) -> dict[str, Any]:
    """All of it: the audits of every subject and the rules alone, as plain values for results.json."""
    judged = load_policy(policy)
    setting, subjects = run_all(judged, audits, seed, workers)
    truths, plans = setting.truths, setting.plans
    return {
        "policy": {"name": judged.name, "figures": judged.as_dict(), "digest": digest(judged.as_dict())},
        "fixed": {"figures": plans["fixed"].policy.as_dict()},
        "bank": {name: setting.bank.facts[name] for name in ("made", "images", "hardware", "pack", "judge")},
        "seed": seed,
        "audits": {name: sum(sum(row["policies"][name]["verdicts"].values()) for row in subjects) for name in plans},
        "truth": {
            "threshold": truths.threshold,
            "limits": {group: truths.limit(group) for group in GROUPS},
            "members": {group: len(truths.members(group)) for group in GROUPS},
            "round": {group: setting.round_of(group) for group in GROUPS},
            "alpha": judged.alpha,
            "alpha_fail": plans["early"].alpha_fail,
        },
        "degrees": {model["name"]: model["moves"] for model in setting.bank.facts["models"] if model["origin"] == BASE},
        "subjects": subjects,
        "simulated": simulate(plans["early"], plans["fixed"], members(setting)),
    }
