"""Audits unlearning in text-to-image diffusion models: is a concept gone, and is everything around it still there?

    import dmun_audit

    result = dmun_audit.audit(candidate="path/to/unlearned", base="path/to/original", dossier="van-gogh", policy="smoke")
    result.verdict

`pytest audits/` is a client of the same code. Importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmun_audit import statistics
    from dmun_audit._util.errors import LoadError, StoreError, UsageError
    from dmun_audit.api import AuditResult, audit, compare, compare_methods, load_run, log_to_mlflow, log_to_wandb
    from dmun_audit.campaign_api import CampaignResult, campaign
    from dmun_audit.comparison.comparison import Comparison
    from dmun_audit.comparison.methods import MethodTable
    from dmun_audit.tracking.tracked_run import TrackedRun
    from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

__version__ = "0.3.0"

__all__ = [
    "AuditResult",
    "AuditVerdict",
    "CampaignResult",
    "Comparison",
    "LoadError",
    "MethodTable",
    "StoreError",
    "TrackedRun",
    "UsageError",
    "Verdict",
    "__version__",
    "audit",
    "campaign",
    "compare",
    "compare_methods",
    "load_run",
    "log_to_mlflow",
    "log_to_wandb",
    "statistics",
]

_HOMES = {
    "AuditResult": "dmun_audit.api",
    "AuditVerdict": "dmun_audit.verdict.vocabulary",
    "CampaignResult": "dmun_audit.campaign_api",
    "Comparison": "dmun_audit.comparison.comparison",
    "LoadError": "dmun_audit._util.errors",
    "StoreError": "dmun_audit._util.errors",
    "UsageError": "dmun_audit._util.errors",
    "Verdict": "dmun_audit.verdict.vocabulary",
    "audit": "dmun_audit.api",
    "campaign": "dmun_audit.campaign_api",
    "MethodTable": "dmun_audit.comparison.methods",
    "compare": "dmun_audit.api",
    "compare_methods": "dmun_audit.api",
    "load_run": "dmun_audit.api",
    "log_to_mlflow": "dmun_audit.api",
    "log_to_wandb": "dmun_audit.api",
    "TrackedRun": "dmun_audit.tracking.tracked_run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name == "statistics":
        return import_module("dmun_audit.statistics")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
