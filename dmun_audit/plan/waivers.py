"""Waivers: which case of a plan each one is of, whether it holds on a given day, and what became of it.

A waiver takes one case's FAIL or INCONCLUSIVE out of the audit's verdict; the case keeps its own. It covers that case
alone: waiving a pooled claim waives none of its members, and waiving a member leaves the pooled claim as it is, since
what was seen of the member still counts there. Controls cannot be waived: without them no other number means anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.schema import CaseRecord, ManifestWaiver, WaiverRecord
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Waiver
from dmun_audit.verdict.vocabulary import CONTROLS


def check_waivers(plans: Sequence[Plan], day: date) -> None:
    """Raise UsageError where a waiver cannot mean what it says; `plans` are those of all targets, under one policy.

    Each waiver has to fit exactly one case in the plan of every target that it fits at all, no control, and no case that
    another one fits. One that fits no case is refused as well, unless it has expired, or is of a target that is not audited.
    """
    for waiver in plans[0].policy.waivers if plans else ():
        concerned = [plan for plan in plans if _is_of(waiver, plan)]
        found = [case for plan in concerned for case in _fitting(waiver, plan)]
        if concerned and not found and not expired(waiver, day):
            raise _fits_none(waiver, concerned)
    for plan in plans:
        _refuse_unclear(plan)


def waivers_in_force(plan: Plan, day: date) -> dict[str, Waiver]:
    """The waivers that hold on that day, each by the id of its case."""
    waivers = {}
    for waiver in plan.policy.waivers:
        cases = _fitting(waiver, plan)
        if len(cases) == 1 and not expired(waiver, day):
            waivers[cases[0].id] = waiver
    return waivers


def expired(waiver: Waiver, day: date) -> bool:
    """Whether the waiver's last day has passed: on the day `expires` it still holds."""
    return day > waiver.expires


def with_waivers(plan: Plan, records: Iterable[CaseRecord], day: date) -> list[CaseRecord]:
    """The records; one whose FAIL or INCONCLUSIVE is waived gets its `waiver` and keeps its verdict."""
    waivers = waivers_in_force(plan, day)
    return [
        record.with_(waiver=stated(waivers[record.case_id]))
        if record.case_id in waivers and record.verdict.is_failure
        else record
        for record in records
    ]


def stated(waiver: Waiver) -> WaiverRecord:
    """What a waiver says, as the evidence holds it."""
    return WaiverRecord(reason=waiver.reason, owner=waiver.owner, expires=waiver.expires.isoformat())


def waiver_statuses(plan: Plan, records: Mapping[str, CaseRecord], day: date) -> list[ManifestWaiver]:
    """The policy's waivers for the manifest, each with its status on that day.

    `status` is "applied", "not needed" (its case did not fail), "not run", "expired" or "of another target". `verdict` is
    the verdict of its case, None where the case did not run. `days_left` counts from `day` to the last day.
    """
    return [_became(waiver, plan, records, day) for waiver in plan.policy.waivers]


def announce(plan: Plan, day: date) -> list[str]:
    """Lines on the policy's waivers for the head of a run: how many hold, and which hold no more."""
    held = waivers_in_force(plan, day)
    over = [waiver for waiver in plan.policy.waivers if _is_of(waiver, plan) and expired(waiver, day)]
    lines = [f"waivers in force: {len(held)} ({', '.join(sorted(held))})"] if held else []
    return lines + [f"EXPIRED WAIVER, not applied: {w.case!r} of {w.owner}, until {w.expires.isoformat()}" for w in over]


def _became(waiver: Waiver, plan: Plan, records: Mapping[str, CaseRecord], day: date) -> ManifestWaiver:
    cases = _fitting(waiver, plan)
    case = cases[0] if len(cases) == 1 else None
    record = records.get(case.id) if case else None
    if expired(waiver, day) and _is_of(waiver, plan):
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


def _is_of(waiver: Waiver, plan: Plan) -> bool:
    target = plan.dossier.target
    return waiver.target is None or waiver.target in (target.name, *target.aliases)


def _fitting(waiver: Waiver, plan: Plan) -> list[Case]:
    return [case for case in plan.cases if waiver.case in _names(case)] if _is_of(waiver, plan) else []


def _names(case: Case) -> set[str]:
    """By what a waiver may call a case."""
    names = {case.id, case.title}
    names |= {case.concept.name} if case.concept else set()
    return names | ({case.prompt.text} if case.prompt else set())


def _refuse_unclear(plan: Plan) -> None:
    taken: dict[str, Waiver] = {}
    for waiver in plan.policy.waivers:
        cases = _fitting(waiver, plan)
        if any(case.group == CONTROLS for case in cases):
            raise UsageError(
                f"the policy waives {waiver.case!r}, which is a control",
                "a judge that fails its control says nothing of any other case",
                "remove the waiver, and mend what the control finds: another judge, or other prompts",
            )
        if len(cases) > 1:
            raise UsageError(
                f"the policy's waiver of {waiver.case!r} fits {len(cases)} cases",
                f"a waiver is of one case: {', '.join(case.id for case in cases)}",
                "give the id of the one that is meant, or a waiver for each",
            )
        for case in cases:
            if case.id in taken:
                raise UsageError(
                    f"the policy waives “{case.title}” twice: as {taken[case.id].case!r} and as {waiver.case!r}",
                    "which reason, owner and day hold would be open",
                    "remove one of them",
                )
            taken[case.id] = waiver


def _fits_none(waiver: Waiver, plans: Sequence[Plan]) -> UsageError:
    known = sorted({name for plan in plans for case in plan.cases if case.group != CONTROLS for name in _names(case)})
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(waiver.case.casefold(), folded, n=1, cutoff=0.6)
    targets = ", ".join(plan.dossier.target.name for plan in plans)
    return UsageError(
        f"the policy waives {waiver.case!r}, which is no case of this audit of {targets}",
        f"did you mean {folded[close[0]]!r}?" if close else "",
        "give the id or title of a case, a concept's name or a prompt's text (every case's id stands in report.html and evidence.jsonl)"
        + ("" if waiver.target else '; where it is of another target, add target = "…" to the waiver'),
    )
