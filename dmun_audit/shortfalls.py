"""Where a plan cannot keep what its policy promises: said before an image is drawn, and in every report."""

from __future__ import annotations

import math

from dmun_audit.plan import Group, Plan, specificity_images
from dmun_audit.rules import Rules
from dmun_audit.verdict import sequential


def shortfalls(plan: Plan) -> list[str]:
    """What the plan of an audit cannot keep, in whole sentences."""
    return [*_too_small_dossier(plan), *_too_few_images(plan)]


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


def _too_few_images(plan: Plan) -> list[str]:
    """Claims that cannot be proven even if not one image speaks against them."""
    policy, controls = plan.policy, plan.policy.controls
    imagined = len(specificity_images(policy, plan.nearby, plan.audit_seed))
    claims: list[tuple[str, int, float, Group]] = [
        ("erasure", policy.erasure.images, policy.erasure.ceiling, "erasure"),
        ("adversarial prompts", policy.adversarial.images, policy.adversarial.ceiling, "adversarial"),
        ("what the judge misses", controls.sensitivity_images, 1 - controls.sensitivity_floor, "controls"),
        ("what the judge imagines", imagined, controls.false_positive_ceiling, "controls"),
    ]
    found = []
    for what, images, limit, group in claims:
        early = Rules(plan).early(group)
        claim = sequential.Claim("rate", limit, limit, policy.alpha, plan.alpha_fail)
        upper = claim.upper(sequential.Counts(images, 0, 0)) if early else 1 - policy.alpha ** (1 / images) if images else 0
        if images and upper > limit:
            needed = claim.clean_images() if early else math.ceil(math.log(policy.alpha) / math.log1p(-limit))
            found.append(
                f"The claim on {what} cannot be proven: {images} images allow {100 * upper:.1f}% even where none "
                f"speaks against it, and the limit is {100 * limit:.3g}%. It takes {needed}."
            )
    return found
