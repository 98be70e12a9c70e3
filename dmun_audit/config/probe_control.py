"""Checks the options of attacks with the weights in hand, and finds their control model."""

from __future__ import annotations

import math

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.probe_planning import PROBES, missing_package
from dmun_audit.config.options import Options
from dmun_audit.engines.choice import LOCAL
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.models import references
from dmun_audit.models.source_files import read_source
from dmun_audit.plan.plan import Plan

COMPLETE = frozenset({"folder", "atelier", "hub"})
"""Kinds of references that name a complete model."""


def check_probes(options: Options, plan: Plan, candidate: references.ModelReference) -> None:
    """Raise UsageError for options that a plan without probes ignores, and for a plan whose probes count and cannot be tried."""
    minutes, planned = options.max_probe_minutes, plan.of_group(PROBES)
    if minutes is not None and not 0 <= minutes < math.inf:
        raise UsageError(f"--max-probe-minutes={minutes:g} is no time", "", "give a number of minutes, such as 30")
    given = {"--probe-control": options.probe_control, "--max-probe-minutes": minutes}
    if not planned and (ignored := [name for name, value in given.items() if value is not None]):
        raise UsageError(
            f"{ignored[0]} is for attacks with the weights in hand, and policy {plan.policy.name!r} tries none",
            "it has no section [probes]",
            "leave the option out, or choose a policy with that section, such as open-weights",
        )
    if missing := missing_package(plan):
        raise UsageError(
            f"the probe {missing[0]} counts in this audit, and {missing[1]} is not installed",
            "the audit would pass without it",
            "pip install 'dmun_audit[probes]'",
        )
    reason = _without_weights(options, candidate)
    if reason and any(case.gating for case in planned):
        raise UsageError(
            f"policy {plan.policy.name!r} counts attacks with the weights in hand, and {reason}",
            "the audit would pass without them",
            "change that, or choose a policy that only reports them, such as standard",
        )


def _without_weights(options: Options, candidate: references.ModelReference) -> str:
    """Why no weights are at hand in this process; empty if they are."""
    if options.engine != LOCAL:
        return f"--engine={options.engine} renders on other machines, which try none"
    if options.offload is not None:
        return f"--offload={options.offload} keeps the networks apart"
    return f"of {candidate.text} only images are known" if candidate.kind == "images" else ""


def find_control(options: Options, dossier: Dossier, candidate: str, world: World) -> references.ModelReference | None:
    """The model that --probe-control names, else the atelier's model that never saw the target; None if there is none.

    `candidate` is the digest of the candidate's files: the candidate is no control of its own. Raises UsageError for a reference that
    is no complete model, or has the files of the candidate.
    """
    if options.probe_control is None:
        name = references.atelier_without(dossier.target.name) if world == "atelier" else None
        found = references.parse_reference(f"{references.ATELIER}{name}") if name else None
        return None if found and read_source(found).digest == candidate else found
    reference = references.parse_reference(options.probe_control)
    if reference.kind not in COMPLETE:
        raise UsageError(
            f"--probe-control={options.probe_control} is no complete model",
            "probes change it as they change the candidate",
            "name a pipeline folder or a hub id",
        )
    if read_source(reference).digest == candidate:
        raise UsageError(
            f"--probe-control={options.probe_control} is the candidate",
            "every attack on it would look harmless beside itself",
            "name a model that never knew the target, or leave the option out",
        )
    return reference
