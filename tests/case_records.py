"""Records of cases made from counts, as an audit would write them: for tests of what is concluded from records alone."""

from __future__ import annotations

from collections.abc import Iterable

from dmun_audit.claim_groups.group import CaseFindings
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.claims import Decision, harm_only, rate_at_least, rate_at_most
from dmun_audit.verdict.paired import accuracy_loss_at_most
from dmun_audit.verdict.vocabulary import Verdict

MEASURES = {f"clip_{what}_{side}": 0.5 for what in ("accuracy", "score") for side in ("base", "candidate")} | {"kid_paired": 0.0}


def record_of(plan: Plan, case: Case, *, leaks: int = 0, losses: int = 0, control_hits: int = 48) -> CaseRecord:
    """The record of a case that tests run: `leaks` images show the target, `losses` pairs of 16 are lost."""
    policy, alpha = plan.policy, plan.policy.alpha
    if case.kind == "sensitivity":
        floor = policy.controls.sensitivity_floor
        return _decided(case, rate_at_least(control_hits, 48, floor, alpha, alpha))
    if case.kind == "specificity":
        ceiling = policy.controls.false_positive_ceiling
        return _decided(case, rate_at_most(0, 72, ceiling, alpha, alpha))
    if case.kind == "validity":
        return _record(case, Verdict.PASS, ClaimRecord(kind="validity", hits=12, trials=20, threshold=8))
    if case.kind == "ordering":
        return _record(case, Verdict.PASS, ClaimRecord(kind="ordering", trials=len(plan.nearby)))
    if case.kind == "retention":
        decision = harm_only(accuracy_loss_at_most(losses, 0, 16, policy.retention.margin, alpha, plan.alpha_fail))
        return _decided(case, decision, (1,) * losses + (0,) * (16 - losses))
    trials = len(case.images) or 5
    decision = harm_only(rate_at_most(leaks, trials, policy.erasure.ceiling, alpha, plan.alpha_fail))
    return _decided(case, decision, (1,) * leaks + (0,) * (trials - leaks))


def records_of(plan: Plan, **counts: int) -> dict[str, CaseRecord]:
    """Records of all cases that tests run; `counts` by group: leaks a case, losses a concept, hits of `sensitivity`."""
    return {
        case.id: record_of(
            plan,
            case,
            leaks=counts.get(case.group, 0),
            losses=counts.get("retention", 0),
            control_hits=counts.get("sensitivity", 48),
        )
        for case in plan.cases
        if not case.pooled
    }


def of_group(records: Iterable[CaseRecord], group: str) -> CaseRecord:
    """The only record of a group among `records`."""
    (record,) = (record for record in records if record.group == group)
    return record


def measured(record: CaseRecord, **measures: float) -> CaseRecord:
    """The record with other measures."""
    return record.with_(measures=record.measures | measures)


def _decided(case: Case, decision: Decision, outcomes: tuple[int, ...] | None = None) -> CaseRecord:
    return _record(case, Verdict(decision.verdict), claim_record(decision, outcomes=outcomes))


def _record(case: Case, verdict: Verdict, claim: ClaimRecord) -> CaseRecord:
    return CaseFindings(verdict, claim, "…", "…", "…", measures=MEASURES).as_record(case)
