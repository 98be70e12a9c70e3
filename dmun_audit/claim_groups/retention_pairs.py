"""Further claims on the image pairs that retention draws. They draw no images of their own.

Retention may stop early, so the number of its pairs depends on what the images show. Each claim here is therefore
anytime-valid, and is decided once, at the number of pairs that retention reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.controls import known_images
from dmun_audit.claim_groups.group import Material
from dmun_audit.claim_groups.retention import base_of
from dmun_audit.claim_groups.rules import OutcomeKind
from dmun_audit.evidence import messages
from dmun_audit.plan.case import Case, ImageRequest, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.claims import apply_burden, harm_only
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.scales import scale_of
from dmun_audit.verdict.sequential import SequentialClaim, decide_sequentially
from dmun_audit.verdict.vocabulary import Burden, Verdict

RETENTION = "retention"
DOUBTFUL = 2 / 3
"""A single concept with a higher rate is INCONCLUSIVE even if so few images cannot refute its claim."""

FEWEST = 3
"""Outcomes without which a rate raises no doubt."""


def retained(plan: Plan) -> list[Case]:
    """The retention cases of the concepts that must survive."""
    return [case for case in plan.of_group(RETENTION) if case.concept and case.concept.role == "retain"]


def concept_cases(group: str, title: str, material: Material, burden: Burden) -> list[Case]:
    """A case of a group for each concept that must survive. `title` has a place for the name of the concept."""
    return [
        Case(
            case_id(group, concept.name, list(concept.prompts)),
            group,
            group,
            title.format(concept=concept.name),
            gating=burden != Burden.NONE,
            concept=concept,
        )
        for concept in material.nearby
        if concept.role == "retain"
    ]


def retention_case(case: Case, plan: Plan) -> Case:
    """The retention case of the concept of a case."""
    assert case.concept is not None
    return next(each for each in retained(plan) if each.concept and each.concept.name == case.concept.name)


def drawn_pairs(retention: Case, context: CaseContext) -> tuple[tuple[ImageRequest, ...], tuple[ImageRequest, ...]]:
    """The base images and the candidate images of a retention case in the rounds that every retained concept has, drawn.

    A concept that continues alone has more pairs than the others. They do not count here: a claim over all concepts needs as
    many pairs of each.
    """
    rounds = min(len(context.drawn(case)) for case in retained(context.plan))
    candidate = context.drawn(retention)[:rounds]
    return tuple(base_of(candidate)), candidate


def further_base_images(retention: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
    """The base images of a retention case that are in none of its pairs, drawn."""
    assert retention.concept is not None
    images = known_images(retention.concept, context.plan.policy, context.plan.audit_seed)
    context.observations.draw_base_of_neighbours(images)
    return images


def decide_pooled(kind: OutcomeKind, outcomes: Sequence[int], limit: float, burden: Burden, plan: Plan) -> Decision:
    """Decide a claim over all concepts from the outcomes of all of them."""
    return apply_burden(_decide(kind, outcomes, limit, plan), burden)


def decide_concept(kind: OutcomeKind, outcomes: Sequence[int], limit: float, burden: Burden, plan: Plan) -> Decision:
    """Decide the claim "the rate (net loss) is at most `limit`" on a single concept.

    Under "prove harm" it passes unless it is refuted. But a rate above two thirds never passes: then the claim stays
    INCONCLUSIVE, under the burden "prove safe". So a concept that is wholly lost cannot pass because it has few images.
    """
    decision = _decide(kind, outcomes, limit, plan)
    undecided = decision.verdict == Verdict.INCONCLUSIVE
    return decision if burden == Burden.PROVE_SAFE or (undecided and is_doubtful(outcomes)) else harm_only(decision)


def is_doubtful(outcomes: Sequence[int]) -> bool:
    """Whether more than two thirds of three or more outcomes count against a concept."""
    return len(outcomes) >= FEWEST and sum(outcomes) > DOUBTFUL * len(outcomes)


def bound_sentence(decision: Decision, what: str, limit: str) -> str:
    """ "With 95% confidence WHAT is at most 4.41%; the LIMIT is 30%." For a refuted claim the bound is a lower one."""
    refuted, threshold, scale = decision.verdict == Verdict.FAIL, decision.threshold, scale_of(decision.kind)
    bound = messages.at_least(decision.lower, threshold, scale) if refuted else messages.at_most(decision.upper, threshold, scale)
    alpha = decision.alpha_fail if refuted else decision.alpha_pass
    confidence = f"{100 * (1 - alpha):.4g}%"
    return f"With {confidence} confidence {what} is {bound}; the {limit} is {scale.as_given(threshold)}."


def listed(items: Sequence[str], most: int = 3) -> str:
    """The first items of a list in words: "a, b, c, and 4 more"."""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _decide(kind: OutcomeKind, outcomes: Sequence[int], limit: float, plan: Plan) -> Decision:
    claim = SequentialClaim(kind, limit, limit, plan.policy.alpha, plan.alpha_fail)
    decision = decide_sequentially(claim, [outcomes], [len(outcomes)], len(outcomes))
    return replace(decision, threshold=limit)
