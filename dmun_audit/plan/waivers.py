"""Waivers: the case of a plan that each one covers, whether it is in force on a day, and its status after the run.

A waiver removes the FAIL or INCONCLUSIVE of one case from the verdict on the audit. The case keeps its own verdict. A waiver of
a pooled claim covers none of its members. A waiver of a member does not change the pooled claim: the member's images still
count there. Controls cannot be waived: if a control fails, no other result counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.manifest import ManifestWaiver
from dmun_audit.evidence.schema import CaseRecord, WaiverRecord
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Waiver
from dmun_audit.verdict.vocabulary import CONTROLS


def check_waivers(plans: Sequence[Plan], day: date) -> None:
    """Raise UsageError for an unclear waiver. `plans` are the plans of all targets under one policy.

    In each plan, a waiver may match one case at most. The case must not be a control and must not have another waiver. A
    waiver without a matching case is refused too, unless it has expired or names a target that is not audited.
    """
    for waiver in plans[0].policy.waivers if plans else ():
        plans_of_waiver = [plan for plan in plans if _names_target(waiver, plan)]
        cases = [case for plan in plans_of_waiver for case in _matching_cases(waiver, plan)]
        if plans_of_waiver and not cases and not is_expired(waiver, day):
            raise _no_matching_case(waiver, plans_of_waiver)
    for plan in plans:
        _refuse_unclear(plan)


def waivers_in_force(plan: Plan, day: date) -> dict[str, Waiver]:
    """The waivers that are in force on that day, by the id of their case."""
    waivers = {}
    for waiver in plan.policy.waivers:
        cases = _matching_cases(waiver, plan)
        if len(cases) == 1 and not is_expired(waiver, day):
            waivers[cases[0].id] = waiver
    return waivers


def is_expired(waiver: Waiver, day: date) -> bool:
    """Whether the waiver's last day has passed. On the day `expires` it is still in force."""
    return day > waiver.expires


def with_waivers(plan: Plan, records: Iterable[CaseRecord], day: date) -> list[CaseRecord]:
    """The records. A record whose FAIL or INCONCLUSIVE is waived gets a `waiver` and keeps its verdict."""
    waivers = waivers_in_force(plan, day)
    return [
        record.with_(waiver=waiver_record(waivers[record.case_id]))
        if record.case_id in waivers and record.verdict.is_failure
        else record
        for record in records
    ]


def waiver_record(waiver: Waiver) -> WaiverRecord:
    """The record of a waiver for the evidence."""
    return WaiverRecord(reason=waiver.reason, owner=waiver.owner, expires=waiver.expires.isoformat())


def waiver_statuses(plan: Plan, records: Mapping[str, CaseRecord], day: date) -> list[ManifestWaiver]:
    """The policy's waivers for the manifest, with their status on that day.

    `status` is "applied", "not needed" (its case did not fail), "not run", "expired" or "of another target". `verdict` is
    the verdict of its case; None if the case did not run. `days_left` counts from `day` to the last day.
    """
    return [_status(waiver, plan, records, day) for waiver in plan.policy.waivers]


def waiver_header(plan: Plan, day: date) -> list[str]:
    """Lines on the policy's waivers for the header of a run: the waivers in force, and the expired ones."""
    active = waivers_in_force(plan, day)
    expired = [waiver for waiver in plan.policy.waivers if _names_target(waiver, plan) and is_expired(waiver, day)]
    lines = [f"waivers in force: {len(active)} ({', '.join(sorted(active))})"] if active else []
    return lines + [
        f"EXPIRED WAIVER, not applied: {waiver.case!r} (owner {waiver.owner}, last day {waiver.expires.isoformat()})"
        for waiver in expired
    ]


def _status(waiver: Waiver, plan: Plan, records: Mapping[str, CaseRecord], day: date) -> ManifestWaiver:
    cases = _matching_cases(waiver, plan)
    case = cases[0] if len(cases) == 1 else None
    record = records.get(case.id) if case else None
    if is_expired(waiver, day) and _names_target(waiver, plan):
        status = "expired"
    elif case is None:
        status = "of another target"
    elif record is None:
        status = "not run"
    else:
        status = "applied" if record.waiver else "not needed"
    return ManifestWaiver(
        case=waiver.case,
        reason=waiver.reason,
        owner=waiver.owner,
        expires=waiver.expires.isoformat(),
        target=waiver.target,
        status=status,
        days_left=(waiver.expires - day).days,
        case_id=case.id if case else None,
        title=case.title if case else None,
        verdict=record.verdict if record else None,
    )


def _names_target(waiver: Waiver, plan: Plan) -> bool:
    """Whether a waiver is for the target of the plan. A waiver without a target is for every target."""
    target = plan.dossier.target
    return waiver.target is None or waiver.target in (target.name, *target.aliases)


def _matching_cases(waiver: Waiver, plan: Plan) -> list[Case]:
    return [case for case in plan.cases if waiver.case in _names(case)] if _names_target(waiver, plan) else []


def _names(case: Case) -> set[str]:
    """The names by which a waiver may refer to a case. A concept's name means the case that draws it."""
    names = {case.id, case.title}
    names |= {case.concept.name} if case.concept and case.images else set()
    return names | ({case.prompt.text} if case.prompt else set())


def _refuse_unclear(plan: Plan) -> None:
    waivers: dict[str, Waiver] = {}
    for waiver in plan.policy.waivers:
        cases = _matching_cases(waiver, plan)
        if any(case.group == CONTROLS for case in cases):
            raise UsageError(
                f"the policy waives {waiver.case!r}, which is a control",
                "if a control fails, no other result counts",
                "remove the waiver, and use another judge or other prompts if the control fails",
            )
        if len(cases) > 1:
            raise UsageError(
                f"the policy's waiver of {waiver.case!r} matches {len(cases)} cases",
                f"a waiver covers one case, and these match: {', '.join(case.id for case in cases)}",
                "give the id of one case, or one waiver for each case",
            )
        for case in cases:
            if case.id in waivers:
                raise UsageError(
                    f"the policy waives “{case.title}” twice: as {waivers[case.id].case!r} and as {waiver.case!r}",
                    "it is unclear which reason, owner and day apply",
                    "remove one of them",
                )
            waivers[case.id] = waiver


def _no_matching_case(waiver: Waiver, plans: Sequence[Plan]) -> UsageError:
    names = sorted({name for plan in plans for case in plan.cases if case.group != CONTROLS for name in _names(case)})
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(waiver.case.casefold(), folded, n=1, cutoff=0.6)
    targets = ", ".join(plan.dossier.target.name for plan in plans)
    return UsageError(
        f"the policy waives {waiver.case!r}, which is no case of this audit of {targets}",
        f"did you mean {folded[close[0]]!r}?" if close else "",
        "give the id or title of a case, a concept's name or a prompt's text (report.html and evidence.jsonl show the ids)"
        + ("" if waiver.target else '; if the waiver is for another target, add target = "…" to it'),
    )
