"""Runs the cases of one plan on one pair of models, without pytest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar, cast

from dmun_audit.claim_groups.context import Judge, Measures, Observations
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import JudgeErrors, Rules
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.case import Case, ImageRequest
from dmun_audit.plan.plan import Plan
from dmun_audit.runtime.sequential_sampler import SequentialSampler
from dmun_audit.verdict.vocabulary import CONTROLS, Verdict

T = TypeVar("T")


class AuditRunner:
    """Decides cases; implements `claim_groups.context.CaseContext`. Processes of one audit share only the store."""

    def __init__(self, observations: Observations, measures: Measures) -> None:
        self.observations = observations
        self.measures = measures
        self.plan: Plan = observations.plan
        self._sampler = SequentialSampler(self)
        self._rules: dict[Judge, Rules] = {}
        self._records: dict[str, CaseRecord] = {}
        self._computed: dict[str, object] = {}

    def share_work(self, groups: Sequence[str]) -> None:
        """Other processes run cases of these groups at the same time: while one of them draws what this one needs, draw for them."""
        self._sampler.groups = groups

    def record(self, case: Case) -> CaseRecord:
        """The record of a case, decided once in this process."""
        if case.id not in self._records:
            record = claim_group(case.group).decide_case(case, self).as_record(case)
            self._records[case.id] = _explained(record, pooled=bool(self.plan.of_group(case.group, pooled=True)))
        return self._records[case.id]

    @cached_property
    def failed_control(self) -> CaseRecord | None:
        """The first control that is refuted; None if none is. It draws the images of the controls."""
        controls = (self.record(case) for case in self.plan.of_group(CONTROLS))
        return next((record for record in controls if record.verdict == Verdict.FAIL), None)

    @property
    def gradient_steps(self) -> int:
        """The gradient steps that probes have taken in this process."""
        return self.observations.bench.spent.gradient_steps if self.observations.bench else 0

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """See `CaseContext.drawn`."""
        return self._sampler.drawn(case)

    def max_images(self, case: Case) -> int:
        """See `CaseContext.max_images`."""
        return self._sampler.max_images(case)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """See `CaseContext.once`."""
        if name not in self._computed:
            self._computed[name] = compute()
        return cast(T, self._computed[name])

    def rules(self, judge: Judge = "first") -> Rules:
        """See `CaseContext.rules`."""
        if judge not in self._rules:
            errors = self._judge_errors(judge) if self.plan.policy.controls.judge_error_gates else None
            self._rules[judge] = Rules(self.plan, errors)
        return self._rules[judge]

    def _judge_errors(self, judge: Judge) -> JudgeErrors:
        """The judge's errors on the images of the controls."""
        with_target, without_target = self.plan.of_kind("sensitivity").images, self.plan.of_kind("specificity").images
        self.observations.draw(with_target)
        self.observations.draw_base_of_neighbours(without_target)
        return JudgeErrors(
            hits=sum(self.observations.detected(with_target, judge)),
            with_target=len(with_target),
            false_hits=sum(self.observations.detected(without_target, judge)),
            without_target=len(without_target),
        )


def _explained(record: CaseRecord, *, pooled: bool) -> CaseRecord:
    """The record with an explanation of its verdict, if the single case need not be proven safe.

    The case is only reported if it does not gate, or if so few images cannot refute its claim. `pooled`: whether its group has a
    claim over all of its images.
    """
    claim = record.claim
    if claim is None or not claim.harm_only or claim.kind == "observation":
        return record
    if not record.gating or (claim.worst is None and not claim.refutable):
        seen = " ".join([record.seen, messages.REPORTED_ONLY, *([messages.COUNTED_TOGETHER] if pooled else [])])
        return record.with_(gating=False, verdict=Verdict.PASS, remedy="", seen=seen)
    if pooled and not record.verdict.is_failure and claim.over_limit:
        return record.with_(seen=f"{record.seen} {messages.UNDECIDED_ALONE}")
    return record
