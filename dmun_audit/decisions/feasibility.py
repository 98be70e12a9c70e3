"""What a plan cannot deliver under its policy. Users see it before any image is rendered, and in every report."""

from __future__ import annotations

from dmun_audit.claim_groups.controls import specificity_images
from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.registry import claim_groups
from dmun_audit.claim_groups.rules import JudgeErrors, Rules
from dmun_audit.evidence import messages
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict import bounds, sequential
from dmun_audit.verdict.bounds import MOST_IMAGES, smallest
from dmun_audit.verdict.paired import loss_upper_bound
from dmun_audit.verdict.vocabulary import Burden, Verdict


def shortfalls(plan: Plan) -> list[str]:
    """What the plan of an audit cannot deliver, in sentences."""
    sentences = [sentence for group in claim_groups() for sentence in group.shortfalls(plan)]
    return sentences + [sentence for group in claim_groups() for sentence in _never_proven(plan, group)]


def _never_proven(plan: Plan, group: ClaimGroup) -> list[str]:
    """Claims that stay unproven even if no image counts against them and the judge makes no mistake."""
    if group.limits(plan.policy) is None or not plan.of_group(group.name):
        return []
    rules, outcomes, sentences = Rules(plan, _best_judge(plan)), group.clean_outcomes(plan), []
    decision = rules.decide_group(group, outcomes)
    if outcomes and not rules.is_decided(group, outcomes):
        needed = _needed(plan, rules, group, decision.threshold)
        counted = (decision.trials, group.unit, decision.upper, decision.threshold, needed)
        sentences.append(messages.cannot_be_proven(f"The claim on {group.subject}", *counted))
    case, most = plan.of_group(group.name)[0], max(map(len, outcomes), default=0)
    proven_alone = group.case_limits(case, plan.policy).burden == Burden.PROVE_SAFE
    if proven_alone and most and rules.decide_case(group, case, [0] * most, most).verdict != Verdict.PASS:
        sentences.append(
            f"No claim on single {group.subject} can be proven: {most} images of each are too few, even if none counts against it."
        )
    return sentences


def _best_judge(plan: Plan) -> JudgeErrors:
    """A judge that makes no mistake in its controls."""
    clean = len(specificity_images(plan.policy, plan.nearby, plan.audit_seed))
    images = plan.policy.controls.sensitivity_images
    return JudgeErrors(hits=images, with_target=images, false_hits=0, without_target=clean)


def _needed(plan: Plan, rules: Rules, group: ClaimGroup, limit: float) -> int | None:
    """The number of images (pairs) without a hit that proves a claim; None if there is none, or the judge's errors count."""
    alpha = plan.policy.alpha
    if rules.corrects_for_judge(group):
        return None
    if rules.stops_early(group):
        members = len(group.clean_outcomes(plan))  # it stops only after whole rounds
        claim = sequential.SequentialClaim(group.outcome, limit, limit, alpha, plan.alpha_fail)
        needed = -(-claim.clean_images() // members) * members
    elif group.outcome == "paired":
        needed = smallest(lambda pairs: loss_upper_bound(0, 0, pairs, alpha) <= limit, 1, MOST_IMAGES)
    else:
        needed = bounds.clean_images_needed(limit, alpha)
    return needed if needed <= MOST_IMAGES else None
