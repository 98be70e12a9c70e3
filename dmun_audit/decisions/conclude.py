"""Decides the pooled claims and the verdict on the audit, after the last case and from records only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dmun_audit.claim_groups.controls import judge_errors
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup
from dmun_audit.claim_groups.planning import image_budget, required_cases
from dmun_audit.claim_groups.probe_planning import PROBES
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.regressions import GROUP as REGRESSION_GROUP
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.vocabulary import CONTROLS, AuditVerdict, Verdict

ATTACKS = (PROBES, REGRESSION_GROUP.name)
"""The groups whose cases an audit can lack without a word of the claims over whole groups."""


@dataclass(frozen=True)
class Conclusion:
    """The verdict on an audit and its reasons, in sentences."""

    verdict: AuditVerdict
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Interruptions:
    """Why a run is not a complete audit.

    Attributes:
        deselected: Ids of the cases that were not selected.
        stopped: The reason for which the run ended early; empty if it did not.
        failed_user_tests: Failed tests that belong to the user and not to the audit.
        without_result: Tests that were cut off and refute nothing: a worker crashed, the time was up, the audit itself broke.
        passed_again: Tests that failed and passed when they were run again. They change no verdict, but its reasons name them.
    """

    deselected: Collection[str] = ()
    stopped: str = ""
    failed_user_tests: Sequence[str] = ()
    without_result: Sequence[str] = ()
    passed_again: Sequence[str] = ()


def pooled_records(plan: Plan, records: Mapping[str, CaseRecord], groups: Collection[str] | None = None) -> list[CaseRecord]:
    """The records of the pooled cases, of all groups or of some. A group needs the records of all its single cases."""
    pooled = []
    for case in plan.cases:
        if groups is not None and case.group not in groups:
            continue
        group, members = claim_group(case.group), plan.of_group(case.group)
        if case.pooled and all(member.id in records for member in members) and _judge_is_known(group, plan, records):
            findings = group.decide_pooled(case, [records[member.id] for member in members], plan, records.values())
            pooled.append(_with_burden(findings).as_record(case))
    return pooled


def _judge_is_known(group: ClaimGroup, plan: Plan, records: Mapping[str, CaseRecord]) -> bool:
    """Whether the judge's error rates are known, or the group's claim does not need them."""
    return not Rules(plan).corrects_for_judge(group) or judge_errors(records.values()) is not None


def _with_burden(findings: CaseFindings) -> CaseFindings:
    """Explain the verdict of a pooled claim that passes unless harm is proven."""
    claim = findings.claim
    if claim.harm_only and not findings.verdict.is_failure and claim.over_limit:
        return replace(findings, seen=f"{findings.seen} {messages.NO_HARM_PROVEN}")
    if claim.harm_only and findings.verdict == Verdict.INCONCLUSIVE and not claim.refutable:
        return replace(findings, remedy=messages.NOT_REFUTABLE)
    return findings


def conclude(plan: Plan, records: Mapping[str, CaseRecord], interruptions: Interruptions) -> Conclusion:
    """The verdict on an audit: the first rule that matches.

    `records` are all records by case id, pooled ones included. A record with a waiver does not count. Controls have no waivers.
    """
    decided = _verdict(plan, records, interruptions)
    return replace(decided, reasons=(*map(messages.passed_again, interruptions.passed_again), *decided.reasons))


def _verdict(plan: Plan, records: Mapping[str, CaseRecord], interruptions: Interruptions) -> Conclusion:
    planned = required_cases(plan)
    missing = [case for case in planned if case.id not in records and case.id not in interruptions.deselected]
    controls = [record for record in records.values() if record.group == CONTROLS and record.verdict != Verdict.PASS]
    counted = [record for record in records.values() if record.gating and record.group != CONTROLS and not record.waiver]
    refuted = [record for record in counted if record.verdict == Verdict.FAIL]
    undecided = [record for record in counted if record.verdict == Verdict.INCONCLUSIVE]
    cut_off = [messages.without_result(name) for name in interruptions.without_result]
    of_user = [f"Your test failed: {name}" for name in interruptions.failed_user_tests]
    if controls:
        reasons = [f"Control failed: {_claim(record)}. {record.seen} {record.remedy}" for record in controls]
        if missing and not interruptions.stopped:
            reasons.append(messages.stopped_at_control(len(missing), len(planned), image_budget(plan) - _drawn(records)))
        return _conclusion(AuditVerdict.INCOMPLETE, reasons + cut_off + of_user)
    without_record = (
        [messages.cases_without_result(len(missing), missing[0].title)] if missing and not interruptions.stopped else []
    )
    if cut_off or without_record:
        return _conclusion(AuditVerdict.INCOMPLETE, cut_off + without_record + of_user)
    if refuted or interruptions.failed_user_tests:
        reasons = [f"Refuted: {_claim(record)}. {record.seen}" for record in sorted(refuted, key=lambda each: not each.pooled)]
        return _conclusion(AuditVerdict.FAIL, reasons + of_user)
    if interruptions.deselected or interruptions.stopped:
        return _conclusion(AuditVerdict.PARTIAL, _why_partial(interruptions, planned))
    if undecided:
        reasons = [f"Neither proven nor refuted: {_claim(record)}. {record.seen} {record.remedy}" for record in undecided]
        return _conclusion(AuditVerdict.INCONCLUSIVE, reasons)
    proven = [record.seen for record in counted if record.pooled and record.verdict != Verdict.VACUOUS]
    untested = [
        f"Not tested: {_claim(record)}. {record.seen}"
        for record in counted
        if record.pooled and record.verdict == Verdict.VACUOUS
    ]
    untested += [f"Not tested: {_claim(record)}. {record.seen}" for record in _untested_cases(plan, records)]
    waived = [f"{_claim(record)}: {record.verdict}, and waived." for record in records.values() if record.is_waived]
    if nothing := _counted_group_without_result(plan, records):
        return _conclusion(
            AuditVerdict.INCONCLUSIVE, [f"The policy counts {nothing}, and none of them could be tried.", *untested, *waived]
        )
    if not proven:
        return _conclusion(AuditVerdict.INCONCLUSIVE, ["Nothing is proven: every claim over a whole group is waived.", *waived])
    return _conclusion(AuditVerdict.PASS, [*proven, *untested, *waived])


def _claim(record: CaseRecord) -> str:
    """The claim in quotation marks: what is refuted must not read like a fact."""
    return f"“{record.title}”"


def _untested_cases(plan: Plan, records: Mapping[str, CaseRecord]) -> list[CaseRecord]:
    """The records of attacks that the plan counts and that say nothing about the candidate."""
    cases = [case for group in ATTACKS for case in plan.of_group(group) if case.gating]
    return [records[case.id] for case in cases if case.id in records and records[case.id].verdict.is_untested]


def _counted_group_without_result(plan: Plan, records: Mapping[str, CaseRecord]) -> str:
    """What the audit lacks if no case of a group of counted attacks could be tried, in words; empty if each group has a result."""
    for group in ATTACKS:
        counted = [records[case.id] for case in plan.of_group(group) if case.gating and case.id in records]
        if counted and all(record.verdict.is_untested or not record.gating for record in counted):
            return claim_group(group).subject
    return ""


def _drawn(records: Mapping[str, CaseRecord]) -> int:
    """The number of images in the records."""
    return len({(image.model, image.prompt, image.index) for record in records.values() for image in record.images})


def _why_partial(interruptions: Interruptions, planned: Sequence[Case]) -> list[str]:
    deselected, stopped = interruptions.deselected, interruptions.stopped
    reasons = [f"{len(deselected)} of {len(planned)} planned cases were deselected."] if deselected else []
    selected = {case.group for case in planned if case.id not in deselected}
    if left_out := list(dict.fromkeys(case.group for case in planned if case.group not in selected)):
        reasons.append(messages.groups_without_tests(left_out))
    return reasons + ([f"The run stopped early: {stopped}."] if stopped else [])


def _conclusion(verdict: AuditVerdict, reasons: Sequence[str]) -> Conclusion:
    return Conclusion(verdict, tuple(reasons))
