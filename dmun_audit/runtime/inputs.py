"""The files of a run folder that hold what an audit was decided from besides its models: dossier, policy, own prompts, packages."""

from __future__ import annotations

from pathlib import Path

from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.regressions import keep_regressions
from dmun_audit.evidence.inputs import BASELINE_FILE, DOSSIER, PACKAGES, POLICY, UNRELATED
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.plan.baseline import baseline_text
from dmun_audit.policy.writing import policy_as_toml
from dmun_audit.runtime.environment import package_list
from dmun_audit.store.files import write_atomically


def write_inputs(config: AuditConfig, folder: Path) -> None:
    """Write the inputs of an audit into its run folder. Raises StoreError if one of them cannot be written."""
    write_dossier(config.dossier, folder / DOSSIER)
    _write(folder / POLICY, policy_as_toml(config.policy))
    _write(folder / PACKAGES, "".join(f"{line}\n" for line in package_list()))
    if config.unrelated:
        _write(folder / UNRELATED, "".join(f"{prompt}\n" for prompt in config.unrelated))
    if config.regressions:
        keep_regressions(config.regressions, folder)
    if config.baseline:
        _write(folder / BASELINE_FILE, baseline_text(config.baseline))


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
