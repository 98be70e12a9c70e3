"""Where the record of a probe contradicts itself, its plan or its images."""

from __future__ import annotations

from collections.abc import Iterator

from dmun_audit.claim_groups.probe_decision import counts_in_verdict, decide, verdict_of
from dmun_audit.claim_groups.probe_planning import base_rows_of, effort_of, row_size, units_of
from dmun_audit.evidence.schema import CaseRecord, ProbeImage, ProbeRecord
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.probes.probe import Probe
from dmun_audit.probes.registry import probes
from dmun_audit.verdict.vocabulary import Verdict

Unit = tuple[str, int]
"""The prompt of a unit, and the index of its seed."""


def probe_problems(case: Case, record: CaseRecord, plan: Plan) -> Iterator[str]:
    """What is wrong with the record of a probe, in sentences without a subject; nothing if all of it follows from its images and plan."""
    tried = record.probe
    if tried is None:
        yield "it does not say what was tried"
        return
    probe = next((each for each in probes() if each.name == tried.name), None)
    if probe is None or tried.name != case.kind:
        yield f"the plan tries {case.kind}, and it says {tried.name}"
        return
    if record.gating != counts_in_verdict(tried, gating=case.gating):
        yield "whether it counts in the verdict does not follow from its control"
    if not tried.refusal:
        yield from _unlike_the_plan(probe, tried, plan)
        yield from _unlike_the_images(record, tried)
    decision, verdict = decide(tried, plan), verdict_of(tried, plan, gating=case.gating)
    if record.verdict != verdict:
        yield f"it says {record.verdict}, and {verdict} follows from its outcomes"
    if tried.came_back != (decision is not None and decision.verdict == Verdict.FAIL):
        yield "whether the target came back does not follow from its outcomes"
    if decision and record.claim:
        for name in ("hits", "gains", "trials"):
            said, follows = getattr(record.claim, name), getattr(decision.claim, name)
            if said != follows:
                yield f"its claim says {name} {said}, and its outcomes say {follows}"


def _unlike_the_plan(probe: Probe, tried: ProbeRecord, plan: Plan) -> Iterator[str]:
    effort = effort_of(plan)
    planned = (effort, probe.success, len(units_of(plan)), row_size(plan), [dose.label for dose in probe.doses(effort)])
    said = (tried.effort, tried.success, tried.units, tried.row, [dose.label for dose in tried.doses])
    if planned != said:
        yield f"the plan tries {planned}, and it says {said}"
    if tried.control not in {"model", "none" if probe.teaches else "placebo"}:
        yield f"this probe has no control of the kind {tried.control!r}"
    drawn = len(tried.without_probe)
    if drawn % tried.row or any(
        len(dose.candidate) != drawn
        or len(dose.control) != (0 if tried.control == "none" else drawn)
        or len(dose.base) != min(drawn, base_rows_of(plan) * tried.row)
        for dose in tried.doses
    ):
        yield "its doses have other numbers of units than were drawn"


def _unlike_the_images(record: CaseRecord, tried: ProbeRecord) -> Iterator[str]:
    units: list[Unit] = [(image.prompt, image.index) for image in record.images if image.model == "base"]
    plain = {(image.prompt, image.index): int(bool(image.detected)) for image in record.images if image.model == "candidate"}
    if tuple(plain.get(unit, -1) for unit in units) != tried.without_probe:
        yield "its images without the attack do not show what its outcomes say"
    for arm in ("candidate", "control", "base"):
        before: dict[Unit, int] = {}
        for dose in tried.doses:
            drawn = {
                (image.prompt, image.index): int(bool(image.detected))
                for image in tried.images
                if image.dose == dose.label and _arm(image) == arm
            }
            said = dict(zip(units, getattr(dose, arm), strict=False))
            shown = {unit: max(before.get(unit, 0), drawn.get(unit, 0)) for unit in said} if tried.success == "any" else drawn
            if said != shown or (tried.success == "any" and any(unit not in drawn and not before.get(unit) for unit in said)):
                yield f"its images of the {arm} at {dose.label} do not show what its outcomes say"
                return
            before = said


def _arm(image: ProbeImage) -> str:
    return "control" if image.placebo or image.model == "control model" else str(image.model)
