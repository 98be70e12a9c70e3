"""How many images an audit is likely to draw: as many as a candidate without any failure needs. Pure functions of a plan."""

from __future__ import annotations

from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.planning import image_budget
from dmun_audit.claim_groups.registry import claim_groups
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.plan.case import OWN_SETTINGS
from dmun_audit.plan.plan import Plan


def expected_images(plan: Plan) -> int:
    """The images of all groups, at most the plan's budget; see `expected_of`. A candidate that fails may need more."""
    return min(image_budget(plan), sum(expected_of(group, plan) for group in claim_groups()))


def expected_of(group: ClaimGroup, plan: Plan) -> int:
    """The images that a group draws if no image counts against the candidate.

    A claim that may stop early stops as soon as it is proven. The candidate has no settings of its own. Every prompt works on the base.
    """
    cases, rules = plan.of_group(group.name), Rules(plan)
    planned = {request for case in cases for request in case.images if request.side != OWN_SETTINGS}
    outcomes = group.clean_outcomes(plan) if cases and rules.stops_early(group) else []
    if not outcomes:
        return len(planned) + group.later_images(plan) if cases else 0
    trials = rules.decide_group(group, outcomes).trials
    if not group.draws_in_rounds:
        return round(len(planned) * trials / sum(map(len, outcomes)))
    planned_rounds = group.rounds(plan, len(outcomes))
    rounds = max(
        trials // len(outcomes),
        rules.rounds_of_members(group, planned_rounds),
        rules.rounds_proven_alone(group, cases[0], planned_rounds),
    )
    return rounds * len(cases) * (2 if group.outcome == "paired" else 1)
