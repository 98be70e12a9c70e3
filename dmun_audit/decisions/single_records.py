"""Where a single record contradicts itself: its images, its outcomes, its counts, its bounds and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dmun_audit.claim_groups import baseline, probe_decision, regressions, triggers
from dmun_audit.claim_groups.controls import judge_errors
from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.probe_planning import PROBES
from dmun_audit.claim_groups.rates import RateGroup
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.decisions.probe_records import probe_problems
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.plan.baseline import BASELINE, THRESHOLDS
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.claims import rate_at_least, rate_at_most
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import CONTROLS, ClaimKind, Verdict

FIXED_CLAIMS: Mapping[str, Callable[[int, int, float, float, float], Decision]] = {
    ClaimKind.RATE_AT_LEAST: rate_at_least,
    ClaimKind.RATE_AT_MOST: rate_at_most,
}
"""The claims of controls that follow from two counts."""

OBSERVATION = "observation"
"""The kind of a claim that decides nothing."""

TOLERANCE = 1e-9
"""The largest difference of two bounds from the same counts: other versions of scipy may give other last digits."""


def contradictions_of_cases(plan: Plan, records: Mapping[str, CaseRecord]) -> list[str]:
    """A sentence for each record whose parts contradict each other. `records` are the single records by case id.

    The numbers of claims in groups of other packages and of claims on text or pictures, such as composition, are not derived again.
    """
    cases = {case.id: case for case in plan.cases if not case.pooled}
    rules = Rules(plan, judge_errors(records.values()) if plan.policy.controls.judge_error_gates else None)
    found = []
    for case_id, record in records.items():
        problem = next(_problems(cases.get(case_id), record, plan, rules), "")
        if problem:
            found.append(f"“{record.title}” contradicts itself: {problem}.")
    return found


def _problems(case: Case | None, record: CaseRecord, plan: Plan, rules: Rules) -> Iterator[str]:
    claim = record.claim
    if case is None:
        yield "the plan has no such case"
        return
    if record.group != case.group or (record.gating and not case.gating):
        yield "its group, or whether it counts in the verdict, is not as the plan says"
        return
    if claim is None:
        return
    if case.gating and not record.gating and not _is_reported_only(record, claim):
        yield "the plan counts it in the verdict, and it says that it is only reported"
    if record.group == CONTROLS:
        yield from _problems_of_control(record, claim)
        return
    if record.group == PROBES:
        yield from probe_problems(case, record, plan)
    if record.group == BASELINE:
        yield from _problems_of_comparison(case, record, claim, plan)
    group = claim_group(record.group)
    if claim.outcomes is not None and claim.hits != sum(outcome == 1 for outcome in claim.outcomes):
        yield f"it counts {claim.hits} outcomes against the claim, and lists {sum(o == 1 for o in claim.outcomes)}"
    if claim.outcomes is not None and (group.limits(plan.policy) is not None or group.name == regressions.GROUP.name):
        yield from _problems_of_outcomes(case, record, claim, group, rules)


def _is_reported_only(record: CaseRecord, claim: ClaimRecord) -> bool:
    """Whether a case that the plan counts may be only reported: it has nothing to decide, or so few images that cannot refute it."""
    if record.group == PROBES:
        return record.probe is not None and not probe_decision.counts_in_verdict(record.probe, gating=True)
    undecidable = claim.harm_only and claim.worst is None and not claim.refutable
    return record.verdict == Verdict.PASS and (claim.kind == OBSERVATION or undecidable or record.group == triggers.GROUP.name)


def _problems_of_control(record: CaseRecord, claim: ClaimRecord) -> Iterator[str]:
    shown = [image for image in record.images if image.detected is not None]
    if claim.kind == ClaimKind.RATE_AT_LEAST and claim.hits != sum(bool(image.detected) for image in shown):
        yield f"it counts {claim.hits} detections, and its images show {sum(bool(image.detected) for image in shown)}"
    rule, alphas = FIXED_CLAIMS.get(claim.kind), (claim.alpha_pass, claim.alpha_fail)
    if rule and claim.hits is not None and claim.trials and claim.threshold is not None and alphas[0] and alphas[1]:
        yield from _other_decision(record, claim, rule(claim.hits, claim.trials, claim.threshold, alphas[0], alphas[1]))


def _problems_of_outcomes(case: Case, record: CaseRecord, claim: ClaimRecord, group: ClaimGroup, rules: Rules) -> Iterator[str]:
    outcomes = claim.outcomes or ()
    if claim.trials != len(outcomes):
        yield f"it counts {claim.trials} {group.unit}, and lists {len(outcomes)} outcomes"
    drawn = [image for image in record.images if image.model != "base"]
    detected = tuple(int(bool(image.detected)) for image in drawn)
    if isinstance(group, RateGroup) and detected != outcomes:
        yield f"its images show the target {sum(detected)} times, and its outcomes say {sum(o == 1 for o in outcomes)}"
    decision = rules.decide_case(group, case, outcomes, claim.planned or len(outcomes))
    if record.gating and not (record.second and rules.plan.policy.controls.must_agree):
        yield from _other_decision(record, claim, decision)


def _problems_of_comparison(case: Case, record: CaseRecord, claim: ClaimRecord, plan: Plan) -> Iterator[str]:
    """Where the outcomes of a comparison do not follow from the baseline's images and from the images of the record."""
    units = baseline.units_of(case, plan)
    drawn = [(image.prompt, image.index, image.seed) for image in record.images]
    if drawn != [(unit.prompt, unit.index, unit.seed) for unit in units]:
        yield "its images have other prompts or seeds than the images of the baseline"
        return
    if THRESHOLDS[0] not in record.measures:
        yield "it does not say under which threshold images were judged"
        return
    outcomes = baseline.outcomes_of(case, plan, record.images, record.measures)
    if tuple(outcomes) != claim.outcomes:
        yield "its outcomes do not follow from its images and those of the baseline"
    decision = baseline.decide(outcomes, plan)
    if record.gating:
        yield from _other_decision(record, claim, decision)


def _other_decision(record: CaseRecord, claim: ClaimRecord, decision: Decision) -> Iterator[str]:
    if str(decision.verdict) != str(record.verdict):
        yield f"it says {record.verdict}, and {decision.verdict} follows from its counts"
    for name in ("lower", "upper"):
        stands, follows = getattr(claim, name), getattr(decision, name)
        if stands is not None and follows is not None and abs(stands - follows) > TOLERANCE:
            yield f"its {name} bound is {stands:.4f}, and {follows:.4f} follows from its counts"
