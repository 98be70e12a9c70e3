"""Finds the adapter that the probe `merged-adapter` merges into the candidate."""

from __future__ import annotations

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.claim_groups.probe_planning import PROBES
from dmun_audit.config.options import Options
from dmun_audit.models import references
from dmun_audit.plan.plan import Plan
from dmun_audit.probes.registry import probe_named

KIND = "weights"


def find_adapter(options: Options, plan: Plan) -> references.ModelReference | None:
    """The adapter that --probe-adapter names; None if there is none.

    Raises UsageError for what is no weights file, and for a policy that merges no adapter. Raises LoadError for a file of another
    format.
    """
    from dmun_audit.models.artifacts.formats import reading_of
    from dmun_audit.models.artifacts.lora_names import IS_LORA
    from dmun_audit.models.files.contents import OpenContents

    if options.probe_adapter is None:
        return None
    option = f"--probe-adapter={options.probe_adapter}"
    if not any(probe_named(case.kind).needs_adapter for case in plan.of_group(PROBES)):
        raise UsageError(
            f"{option} names an adapter, and policy {plan.policy.name!r} runs no probe that merges it",
            "",
            'leave the option out, or add "merged-adapter" to probes.run of the policy',
        )
    reference = references.parse_reference(options.probe_adapter)
    if reference.kind != KIND or reference.path is None:
        raise UsageError(f"{option} is no adapter", f"it names a {reference.kind}", "give the file of a LoRA")
    with OpenContents(reference.path, headers_only=True) as contents:
        if not any(IS_LORA.search(name) for name in contents.shapes):
            raise LoadError(f"{option} is no LoRA", f"it was read as {reading_of(contents)}", "give the file of a LoRA")
    return reference
