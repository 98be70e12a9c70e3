"""Finds the control model of probes: a model that never knew the target."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.probes import GROUP
from dmun_audit.config.options import Options
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.models import references

PROBES = GROUP.name


def find_control(options: Options, dossier: Dossier, world: World) -> references.ModelReference | None:
    """The model that --probe-control names, else the atelier's model that never saw the target; None if there is none.

    Raises UsageError for a reference that is no complete model.
    """
    if options.probe_control is None:
        name = references.atelier_without(dossier.target.name) if world == "atelier" else None
        return references.parse_reference(f"{references.ATELIER}{name}") if name else None
    reference = references.parse_reference(options.probe_control)
    if reference.kind not in {"folder", "atelier", "hub"}:
        raise UsageError(
            f"--probe-control={options.probe_control} is no complete model",
            "probes change it as they change the candidate",
            "name a pipeline folder or a hub id",
        )
    return reference
