"""Runs whole audits in this process, without pytest."""

from __future__ import annotations

from collections.abc import Callable

from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.waivers import check_waivers
from dmun_audit.runtime.candidates import Candidates, InMemory
from dmun_audit.runtime.target_audit import TargetAudit

OnCase = Callable[[CaseRecord], None]


def run_audit(config: AuditConfig, in_memory: InMemory | None = None, on_case: OnCase | None = None) -> Run:
    """Run all cases of an audit and conclude it. `in_memory` are the models that are pipelines in memory, by side and reference.

    `on_case` is called with each record as soon as its case is decided. Raises what loading and writing raise.
    """
    check_waivers([config.plan], config.day)
    audit = TargetAudit(config)
    candidates = Candidates([audit], in_memory=in_memory)
    try:
        audit.begin()
        return run_begun(audit, candidates, on_case)
    finally:
        audit.end()
        candidates.close()


def run_begun(audit: TargetAudit, candidates: Candidates, on_case: OnCase | None = None) -> Run:
    """Run all cases of an audit that has begun, and conclude it. See `run_audit` for `on_case` and errors."""
    for case in audit.config.plan.cases:
        if case.pooled:
            continue
        record = candidates.check(audit, case)
        if record.case_id != case.id:
            break  # a control is refuted: nothing more is drawn
        audit.keep(record)
        if on_case:
            on_case(record)
    return audit.conclude()
