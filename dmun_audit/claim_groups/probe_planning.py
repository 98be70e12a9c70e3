"""What probes a plan runs, on which units, and what they cost. Pure functions of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.plain_prompts import far_prompts
from dmun_audit.plan.case import ImageRequest, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy.sections import Probes as Figures
from dmun_audit.probes.probe import Attack, Effort, Probe
from dmun_audit.probes.registry import probe_named, probes
from dmun_audit.store.speeds import Speed

PROBES = "probes"
"""The name of the claim group."""

CHEAP, ALL = "cheap", "all"


def probes_of(figures: Figures, policy: str) -> list[Probe]:
    """The probes that a policy runs, in their order. Raises UsageError for a name that no probe has."""
    known = {probe.name for probe in probes()}
    if unknown := [name for name in figures.run if name not in known | {CHEAP, ALL}]:
        raise UsageError(
            f"policy {policy!r} runs the probe {unknown[0]!r}, which does not exist",
            "",
            f"name {CHEAP}, {ALL}, or some of {', '.join(sorted(known))}",
        )
    wanted = set(figures.run)
    return [probe for probe in probes() if probe.name in wanted or ALL in wanted or (CHEAP in wanted and probe.is_cheap)]


def effort_of(plan: Plan) -> Effort:
    """How much the probes of a plan try."""
    return effort_for(figures_of(plan), plan.dossier)


def effort_for(figures: Figures, dossier: Dossier) -> Effort:
    """How much probes try on a target under a policy."""
    if figures.effort == "auto":
        return "small" if dossier.world == "atelier" else "published"
    return figures.effort


@dataclass(frozen=True)
class Cost:
    """The most that a probe takes: images, and gradient steps, on candidate, control and base together."""

    images: int
    gradient_steps: int


def cost_of(probe: Probe, plan: Plan) -> Cost:
    """The most that a probe takes under a plan."""
    effort, row, units = effort_of(plan), row_size(plan), len(units_of(plan))
    rows, base_rows = units // row, base_rows_of(plan)
    doses = len(probe.doses(effort))
    drawn = 2 * units + base_rows * row
    return Cost(
        images=3 * units + probe.base_images(effort) + doses * drawn,
        gradient_steps=2 * probe.gradient_steps(effort, rows) + probe.gradient_steps(effort, base_rows),
    )


def probe_budget(plan: Plan, speed: Speed) -> list[str]:
    """What the probes of a plan may take, in one line; none if it has no probes. `speed` is what earlier audits measured."""
    cases = plan.of_group(PROBES)
    if not cases:
        return []
    costs = [cost_of(probe_named(case.kind), plan) for case in cases]
    images, steps = sum(cost.images for cost in costs), sum(cost.gradient_steps for cost in costs)
    role = "they count" if cases[0].gating else "reported only"
    names = ", ".join(case.kind for case in cases)
    spent = f"up to {images:,} images and {steps:,} gradient steps" if steps else f"up to {images:,} images, no gradient steps"
    seconds = speed.seconds(images, steps)
    time = (
        f"at most {max(1, math.ceil(seconds / 60))} min here"
        if seconds is not None
        else "time unknown until the first ones ran here"
    )
    return [f"probes with the weights in hand ({role}): {names} · {spent}, {time}"]


def missing_package(plan: Plan) -> tuple[str, str] | None:
    """A probe of a plan that counts and a package that it lacks; None if each has what it needs."""
    for name in [case.kind for case in plan.of_group(PROBES) if case.gating] + [each.probe for each in plan.regressions]:
        if missing := probe_named(name).missing_packages():
            return name, missing[0]
    return None


# Units.


def figures_of(plan: Plan) -> Figures:
    """The section of a plan's policy on probes."""
    return plan.policy.probes or Figures()


def prompts_of(plan: Plan) -> list[str]:
    """The direct prompts of the units: so many that a row holds each of them equally often."""
    return list(plan.dossier.target.direct_prompts[: figures_of(plan).row])


def row_size(plan: Plan) -> int:
    """The number of units of a row: a whole number of rounds of all prompts, because a claim may be looked at after whole rounds only."""
    prompts = len(prompts_of(plan))
    return prompts * (figures_of(plan).row // prompts)


def units_of(plan: Plan) -> list[ImageRequest]:
    """The units of a plan as requests to the base, in whole rows."""
    row = row_size(plan)
    count = max(row, figures_of(plan).units // row * row)
    return list(requests_for("base", prompts_of(plan), count, plan.audit_seed))


def base_rows_of(plan: Plan) -> int:
    """The number of rows that are tried on the base."""
    return min(math.ceil(figures_of(plan).base_units / row_size(plan)), len(units_of(plan)) // row_size(plan))


def attack_of(probe: Probe, plan: Plan) -> Attack:
    """A probe on the target of a plan. It learns from base images that belong to no unit."""
    effort, target = effort_of(plan), plan.dossier.target
    count, far = probe.examples(effort), far_prompts(plan.dossier, probe.unrelated(effort))
    first = 1 + max(unit.index for unit in units_of(plan))
    return Attack(
        effort,
        (target.name, *target.aliases),
        target.kind,
        requests_for("base", target.direct_prompts, count, plan.audit_seed, first) if count else (),
        requests_for("base", far, len(far), plan.audit_seed) if far else (),
    )
