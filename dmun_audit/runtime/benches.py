"""Opens what the probes of one audit work with: the bench, its control model, the user's adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dmun_audit._util.errors import LoadError
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.models import references
from dmun_audit.models.source_files import Source, confirm_source

if TYPE_CHECKING:
    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.user_adapter import UserAdapter
    from dmun_audit.render.engine import Engine


def open_bench(engine: Engine, device: str, config: AuditConfig) -> Bench:
    """The bench of one audit. Its control model is loaded to `device` when it is first asked for.

    Raises LoadError if the adapter does not fit the candidate.
    """
    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import FrozenFile

    finds = [find for regression in config.regressions for find in regression.finds]
    return Bench(
        engine,
        _control_loader(engine, device, config),
        config.probe_control or "",
        config.max_probe_minutes,
        _adapter(config, engine.models["candidate"]),
        {find.sha256: FrozenFile(find.path, find.key, find.sha256) for find in finds},
    )


def _control_loader(engine: Engine, device: str, config: AuditConfig) -> Callable[[], LoadedModel] | None:
    """What loads the control model; None if the audit has none. It raises LoadError for the base."""
    if config.probe_control is None:
        return None
    reference, base = references.parse_reference(config.probe_control), engine.models["base"]

    def load() -> LoadedModel:
        from dmun_audit.models.loading import load_candidate

        control = load_candidate(
            reference,
            base,
            dtype=engine.dtype,
            device=device,
            trust_remote_code=config.trust_remote_code,
            planned=Source(config.probe_control_digest),
        )
        if control.weights_digest == base.weights_digest:
            raise LoadError(
                f"the control of probes, {config.probe_control}, is the base",
                "it knows the target, so every attack on the candidate would look harmless beside it",
                "name a model that never knew the target with --probe-control, or leave the option out",
            )
        return control

    return load


def _adapter(config: AuditConfig, candidate: LoadedModel) -> UserAdapter | None:
    """The adapter that a probe merges; None if there is none. Raises LoadError if it changed, or does not fit the candidate."""
    if config.probe_adapter is None:
        return None
    from dmun_audit.probes.parts.user_adapter import UserAdapter

    reference = references.parse_reference(config.probe_adapter)
    assert reference.path is not None
    adapter = UserAdapter(reference.path, confirm_source(reference, Source(config.probe_adapter_digest)))
    if candidate.pipeline is not None:
        adapter.require_fit(candidate.pipeline)
    return adapter
