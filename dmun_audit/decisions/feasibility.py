"""Where a plan cannot keep what its policy promises: said before an image is drawn, and in every report."""

from __future__ import annotations

import math

from dmun_audit.decisions.group_claims import JudgeErrors, Rules, kind_of
from dmun_audit.plan.plan import Group, Plan, images_of_each, specificity_images
from dmun_audit.verdict import sequential
from dmun_audit.verdict.bounds import MOST_IMAGES, smallest
from dmun_audit.verdict.paired import loss_upper_bound


def shortfalls(plan: Plan) -> list[str]:
    """What the plan of an audit cannot keep, in whole sentences."""
    return [
        *_too_small_dossier(plan),
        *_controls_too_small(plan),
        *_never_proven(plan),
        *_seldom_looked_at(plan),
        *_not_exact(plan),
    ]


def _too_small_dossier(plan: Plan) -> list[str]:
    dossier, policy = plan.dossier, plan.policy
    found = [
        (len(plan.nearby), policy.retention.concepts, "nearby concepts"),
        (len(dossier.adversarial), policy.adversarial.prompts, "adversarial prompts"),
    ]
    return [
        f"Policy {policy.name} would test {wanted} {what}; the dossier has {held}, and nothing is claimed beyond them."
        for held, wanted, what in found
        if held < wanted
    ]


def _controls_too_small(plan: Plan) -> list[str]:
    policy, controls = plan.policy, plan.policy.controls
    imagined = len(specificity_images(policy, plan.nearby, plan.audit_seed))
    found = [
        ("what the judge misses", controls.sensitivity_images, 1 - controls.sensitivity_floor),
        ("what the judge imagines", imagined, controls.false_positive_ceiling),
    ]
    return [
        _cannot(
            f"The claim on {what}", images, "images", 1 - policy.alpha ** (1 / images), limit, _clean_images(limit, policy.alpha)
        )
        for what, images, limit in found
        if images and 1 - policy.alpha ** (1 / images) > limit
    ]


def _never_proven(plan: Plan) -> list[str]:
    """Claims that cannot be proven even if not one image speaks against them and the judge makes no mistake."""
    rules = Rules(plan, _best_judge(plan))
    said: dict[Group, str] = {"erasure": "erasure", "adversarial": "adversarial prompts", "retention": "nearby concepts"}
    found = []
    for group, what in said.items():
        outcomes = _clean_outcomes(plan, rules, group)
        decision = rules.together(group, outcomes)
        if outcomes and not rules.settled(group, outcomes):
            needed = _needed(plan, rules, group, decision.threshold)
            unit = "pairs" if group == "retention" else "images"
            found.append(_cannot(f"The claim on {what}", decision.trials, unit, decision.upper, decision.threshold, needed))
        case = plan.of_group(group)[0]
        most = max(map(len, outcomes), default=0)
        if rules.must_be_proven(case) and most and rules.alone(case, [0] * most, most).verdict != "PASS":
            found.append(
                f"No claim on single {what} can be proven: {most} images of each are too few even where none speaks against it."
            )
    return found


def _clean_outcomes(plan: Plan, rules: Rules, group: Group) -> list[list[int]]:
    """The outcomes of a group of which nothing speaks against the candidate, as many as the plan allows."""
    cases = plan.of_group(group)
    if group == "retention":
        cases = tuple(case for case in cases if case.concept and case.concept.role == "retain")
    if rules.early(group):
        return [[0] * rules.rounds(group, len(cases)) for _ in cases]
    if group == "erasure":
        return [[0] * len(case.images) for case in cases]
    each = images_of_each(plan.policy.adversarial, len(cases), 0) if group == "adversarial" else plan.policy.retention.pairs
    return [[0] * each for _ in cases]


def _best_judge(plan: Plan) -> JudgeErrors:
    clean = len(specificity_images(plan.policy, plan.nearby, plan.audit_seed))
    shown = plan.policy.controls.sensitivity_images
    return JudgeErrors(seen=shown, shown=shown, false_hits=0, clean=clean)


def _needed(plan: Plan, rules: Rules, group: Group, limit: float) -> int | None:
    """How many clean images (pairs) prove a group's claim; None where none do, or where the judge's errors are in it."""
    alpha = plan.policy.alpha
    if rules.gate(group):
        return None
    if rules.early(group):
        members = len(_clean_outcomes(plan, rules, group))  # it stops at the ends of rounds only
        needed = (
            math.ceil(sequential.SequentialClaim(kind_of(group), limit, limit, alpha, alpha).clean_images() / members) * members
        )
    elif group == "retention":
        needed = smallest(lambda pairs: loss_upper_bound(0, 0, pairs, alpha) <= limit, 1, MOST_IMAGES)
    else:
        needed = _clean_images(limit, alpha)
    return needed if needed <= MOST_IMAGES else None


def _clean_images(limit: float, alpha: float) -> int:
    return math.ceil(math.log(alpha) / math.log1p(-limit))


def _cannot(what: str, count: int, unit: str, upper: float, limit: float, needed: int | None) -> str:
    takes = f" It takes {needed}." if needed else ""
    return (
        f"{what} cannot be proven: {count} {unit} allow {100 * upper:.1f}% even where none speaks against it, "
        f"and the limit is {100 * limit:.3g}%.{takes}"
    )


def _seldom_looked_at(plan: Plan) -> list[str]:
    rules, pairs = Rules(plan), plan.policy.retention.pairs
    cycle = rules.cycle("retention")
    if not rules.early("retention") or cycle <= pairs:
        return []
    counts = sorted({len(concept.prompts) for concept in plan.nearby})
    return [
        f"The claim on nearby concepts cannot stop early: they have {', '.join(map(str, counts))} prompts, and only after "
        f"{cycle} pairs of each would all have had their turn equally often. Give all the same number of prompts."
    ]


def _not_exact(plan: Plan) -> list[str]:
    if plan.policy.retention.rule != "score":
        return []
    return [
        "The score test of pairs keeps its error rate for pairs that share their probabilities; over prompts that differ it "
        "may err a little more often than the policy says (6.7% instead of 5% at worst, as far as is known)."
    ]
