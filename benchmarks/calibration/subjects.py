"""Models as the bank knows them, what is true of them, and models made to lie exactly at a limit by mixing two of them.

The truth about a model is its judged rate over all of its images in the bank, at the threshold that all of the bank's
base images calibrate: the rate that an audit's claims are about, free of the luck of one audit's calibration.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from dmun_audit._util.errors import UsageError
from dmun_audit.judge.detection import calibrate
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.plan.plan import Case, Group, Plan, make_plan
from dmun_audit.policy import Policy
from dmun_audit.runtime.sequential_sampler import KNOWN_AT

HERE = Path(__file__).parent
BASE, CLEAN = "base", "retrained"
GROUPS: tuple[Group, ...] = ("erasure", "adversarial", "retention")
AT = 1e-9  # rates nearer than this are equal


class JudgedBank:
    """The bank read back: `target`, `clip` and `right` by kind, each (models, prompts, places), and which row is which."""

    def __init__(self, folder: Path = HERE) -> None:
        facts, path = folder / "bank.json", folder / "bank.npz"
        if not facts.exists() or not path.exists():
            raise UsageError("there is no bank of judged images", f"{folder} holds none", "make one: … bank --out FOLDER")
        self.facts: dict[str, Any] = json.loads(facts.read_text())
        self.models = {model["name"]: row for row, model in enumerate(self.facts["models"])}
        self.rows = {
            kind: {question["prompt"]: row for row, question in enumerate(asked)}
            for kind, asked in self.facts["questions"].items()
        }
        with np.load(path) as stored:
            held = dict(stored)
        self.target = {kind: held[f"{kind}_target"] for kind in self.rows}
        self.clip = {kind: held[f"{kind}_clip"].astype(np.float64) for kind in self.rows}
        self.right = held["retention_right"].astype(np.int8)
        # The base has images of adversarial prompts already: those that validate them.
        for values in (self.target, self.clip):
            values["adversarial"] = values["adversarial"].copy()
            values["adversarial"][self.models[BASE]] = values["validation"][self.models[BASE]]

    def each(self, kind: str) -> int:
        """Images of each prompt."""
        return int(self.target[kind].shape[2])

    def plan(self, policy: Policy) -> Plan:
        """The plan of every audit under `policy`: which images stand behind its requests is drawn for each audit anew."""
        return make_plan(open_knowledge(self.facts["pack"]["name"]), policy, 0)


@dataclass(frozen=True)
class Subject:
    """A model under audit. Each group's images come from one model of the bank, or each by a coin from either of two.

    `mixed` holds (first model, second model, share of the first) for each group. With `replacement` every image is an
    independent draw; without, an audit sees no image twice. `claim` is the group that lies at its limit or decides.
    """

    name: str
    mixed: dict[str, tuple[str, str, float]]
    replacement: bool = False
    claim: Group | None = None

    @classmethod
    def of(cls, model: str) -> Subject:
        """A model of the bank as it is."""
        return cls(model, dict.fromkeys(GROUPS, (model, model, 1.0)))


@dataclass(frozen=True)
class Truth:
    """True rates of a subject: of each group as a whole, and the worst of its prompts or concepts that are gating alone."""

    rates: dict[str, float]
    worst: dict[str, float]
    sample: dict[str, tuple[float, float]]  # 95% intervals of the rates: the bank is a sample, too


class Truths:
    """What is true under one policy, at a given detection threshold (the bank's own, where none is given)."""

    def __init__(self, bank: JudgedBank, plan: Plan) -> None:
        self.bank, self.plan = bank, plan
        self.cases = {group: plan.of_group(group) for group in GROUPS}

    @cached_property
    def threshold(self) -> float:
        """Calibrated on all base images of neighbours without the target that the bank holds."""
        rows = [self._row("retention", p) for c in self.plan.nearby if not c.may_contain_target for p in c.prompts]
        return float(calibrate(self.bank.target["retention"][self.bank.models[BASE], rows].ravel()).value)

    @cached_property
    def valid(self) -> tuple[Case, ...]:
        """Adversarial cases whose prompt an audit finds valid more often than not."""
        return tuple(case for case in self.cases["adversarial"] if self._chance_of_validity(case) > 0.5)

    @cached_property
    def counted(self) -> tuple[Case, ...]:
        """Cases of concepts that are to be retained and that the base model knows."""
        found = []
        for case in self.cases["retention"]:
            assert case.concept is not None
            known = self.bank.right[self.bank.models[BASE], self._rows_of(case)].mean() >= KNOWN_AT
            found += [case] if case.concept.role == "retain" and known else []
        return tuple(found)

    def limit(self, group: Group) -> float:
        """The ceiling, or the margin."""
        policy = self.plan.policy
        return {
            "erasure": policy.erasure.ceiling,
            "adversarial": policy.adversarial.ceiling,
            "retention": policy.retention.margin,
        }[group]

    def limit_alone(self, group: Group) -> float:
        """That of one prompt or concept."""
        policy = self.plan.policy
        own = {"adversarial": policy.adversarial.per_prompt_ceiling, "retention": policy.retention.per_concept_margin}
        return own.get(group) or self.limit(group)

    def of_case(self, subject: Subject, case: Case, threshold: float | None = None) -> float:
        """The true rate, or loss of accuracy, of one case."""
        first, second, share = subject.mixed[case.group]
        return share * self._of(first, case, threshold) + (1 - share) * self._of(second, case, threshold)

    def rate(self, subject: Subject, group: Group, threshold: float | None = None, cases: Sequence[Case] = ()) -> float:
        """The true rate of a group's pooled claim: the mean over its cases, or over `cases`."""
        among = cases or self.members(group)
        return float(np.mean([self.of_case(subject, case, threshold) for case in among]))

    def pairs(self, model: str) -> tuple[float, float]:
        """Over the concepts that count: the shares of pairs that a model of the bank loses and wins."""
        rows = [row for case in self.counted for row in self._rows_of(case)]
        lost = self.bank.right[self.bank.models[BASE], rows] - self.bank.right[self.bank.models[model], rows]
        return float((lost > 0).mean()), float((lost < 0).mean())

    def members(self, group: Group) -> tuple[Case, ...]:
        """The cases that a group's pooled claim counts."""
        return {"erasure": self.cases["erasure"], "adversarial": self.valid, "retention": self.counted}[group]

    def of(self, subject: Subject) -> Truth:
        """Everything that is true of a subject."""
        worst: dict[str, float] = {}
        for group in GROUPS:
            gating = [self.of_case(subject, case) for case in self.members(group) if case.gating]
            worst[group] = max(gating, default=0.0)
        rates: dict[str, float] = {group: self.rate(subject, group) for group in GROUPS}
        return Truth(rates, worst, {group: self._interval(group, rates[group]) for group in GROUPS})

    def standing(self, truth: Truth) -> str:
        """What a model is: "bad" over a limit, "at a limit", "uneven" where only a single prompt or concept is over, else "good"."""
        over = [truth.rates[group] - self.limit(group) for group in GROUPS]
        if max(over) > AT:
            return "bad"
        if max(over) >= -AT:
            return "at a limit"
        alone = any(truth.worst[group] > self.limit_alone(group) for group in GROUPS)
        return "uneven" if alone else "good"

    def excess(self, truth: Truth) -> float:
        """The worst of a model's rates in units of its limit; 1 is at the limit."""
        return max(truth.rates[group] / self.limit(group) for group in GROUPS)

    def _interval(self, group: Group, rate: float) -> tuple[float, float]:
        """Exact for rates; normal for losses, of which a pair's variance is at most its mean square."""
        images = sum(len(self._rows_of(case)) for case in self.members(group)) * self.bank.each(group)
        if group != "retention":
            found = stats.binomtest(round(rate * images), images).proportion_ci(0.95, "exact")
            return float(found.low), float(found.high)
        reach = 1.96 * float(np.sqrt(max(abs(rate), 1 / images) / images))
        return rate - reach, rate + reach

    def _of(self, model: str, case: Case, threshold: float | None) -> float:
        row, rows = self.bank.models[model], self._rows_of(case)
        if case.group == "retention":
            right = self.bank.right
            return float((right[self.bank.models[BASE], rows] - right[row, rows]).mean())
        return float((self.bank.target[case.group][row, rows] > (threshold or self.threshold)).mean())

    def _chance_of_validity(self, case: Case) -> float:
        assert case.prompt is not None
        figures = self.plan.policy.adversarial
        scores = self.bank.target["validation"][self.bank.models[BASE], self._row("validation", case.prompt.text)]
        return float(stats.binom.sf(figures.valid_at - 1, figures.validation_images, (scores > self.threshold).mean()))

    def _rows_of(self, case: Case) -> list[int]:
        prompts = (
            case.concept.prompts if case.group == "retention" and case.concept else [case.prompt.text] if case.prompt else []
        )
        return [self._row(case.group, prompt) for prompt in prompts]

    def _row(self, kind: str, prompt: str) -> int:
        try:
            return self.bank.rows[kind][prompt]
        except KeyError:
            raise UsageError(f"the bank has no {kind} images of “{prompt}”", "the dossier or the policy asks for them") from None


def at(truths: Truths, group: Group, rate: float, family: Sequence[str], name: str) -> Subject:
    """A subject whose pooled rate of one group is exactly `rate`, everything else being that of a clean model.

    It mixes the two neighbours in `family` (models of the bank) whose rates lie on either side, image by image.
    Raises UsageError where the family does not reach so far.
    """
    ordered = sorted((truths.rate(Subject.of(model), group), model) for model in family)
    for (low, under), (high, over) in pairwise(ordered):
        if low - AT <= rate <= high + AT and high > low:
            clean: dict[str, tuple[str, str, float]] = dict.fromkeys(GROUPS, (CLEAN, CLEAN, 1.0))
            share = (rate - low) / (high - low)
            return Subject(name, clean | {group: (over, under, share)}, replacement=True, claim=group)
    raise UsageError(f"no two models of the bank have {group} rates on either side of {rate:g}", f"{ordered[0]} … {ordered[-1]}")
