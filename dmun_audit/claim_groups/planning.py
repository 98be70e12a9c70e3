"""Makes the plan of an audit. Pure: the same dossier, policy and seed give the same plan in every process."""

from __future__ import annotations

import difflib
from dataclasses import replace

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.group import Material
from dmun_audit.claim_groups.registry import claim_groups, extensions
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.plan.baseline import BASELINE, Baseline
from dmun_audit.plan.case import Case, ImageRequest
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.regressions import Regression
from dmun_audit.policy import Policy


def make_plan(
    dossier: Dossier,
    policy: Policy,
    audit_seed: int,
    fingerprint: str = "",
    unrelated: tuple[str, ...] = (),
    regressions: tuple[Regression, ...] = (),
    baseline: Baseline | None = None,
) -> Plan:
    """The plan of one audit: the cases of every claim group. `plan.seeds` makes the `fingerprint`.

    `unrelated` are the user's own plain prompts; empty for the list that ships with the package. `regressions` are finds of earlier
    audits, and `baseline` is what one of them saw of its candidate.

    Raises UsageError if the dossier has too few prompts for the policy, or if the plan needs more images than it allows.
    """
    _refuse_unknown_groups(policy)
    nearby = tuple(dossier.nearest({"retain", "observe"}, policy.retention.concepts))
    material = Material(dossier, policy, nearby, audit_seed, fingerprint, unrelated, regressions, baseline)
    cases = [case for group in claim_groups() for case in group.cases(material)]
    targeted = tuple(replace(case, target=dossier.target.name) for case in cases)
    plan = Plan(dossier, policy, audit_seed, nearby, targeted, fingerprint, regressions, baseline)
    needed = image_budget(plan) - sum(group.later_images(plan) for group in claim_groups() if group.name == BASELINE)
    if needed > policy.images_at_most:  # how many images a baseline has is no choice of the policy
        raise UsageError(
            f"the plan needs up to {needed:,} images",
            f"policy {policy.name!r} allows {policy.images_at_most:,}",
            "raise images_at_most, or lower the other figures",
        )
    return plan


def _refuse_unknown_groups(policy: Policy) -> None:
    """Raise UsageError for a table `[groups.NAME]` without a claim group of another package."""
    names, all_names = [group.name for group in extensions()], [group.name for group in claim_groups()]
    for name in policy.groups:
        if name in names:
            continue
        if name in all_names:
            raise UsageError(
                f"policy {policy.name!r} has figures for the claim group {name!r} in [groups.{name}]",
                "that table is only for claim groups of other packages",
                f"move them to [{name}]" if hasattr(policy, name) else "remove them",
            )
        close = difflib.get_close_matches(name, names + all_names, n=1)
        raise UsageError(
            f"policy {policy.name!r} has figures for the claim group {name!r}, which does not exist",
            f"did you mean {close[0]!r}?" if close else "",
            "install the package that registers it" + (f", or name one of {', '.join(names)}" if names else ""),
        )


def required_cases(plan: Plan) -> list[Case]:
    """The cases that must run for an audit to be whole."""
    groups = {group.name: group for group in claim_groups()}
    return [case for case in plan.cases if not case.pooled and groups[case.group].is_required(case, plan)]


def image_budget(plan: Plan) -> int:
    """The largest number of images that a plan can request."""
    return len({request for case in plan.cases for request in case.images}) + sum(
        group.later_images(plan) for group in claim_groups()
    )


def candidate_requests(plan: Plan) -> list[ImageRequest]:
    """Every candidate image that an audit may request, each once, in the order of the plan."""
    planned = [request for case in plan.cases for request in case.images_of("candidate")]
    later = [request for group in claim_groups() for request in group.later_requests(plan)]
    return list(dict.fromkeys([*planned, *later]))
