"""Runs a whole audit in this process, without pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.waivers import check_waivers
from dmun_audit.runtime.loading import open_runtime
from dmun_audit.runtime.target_audit import TargetAudit

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.plan.case import Side


def run_audit(
    config: AuditConfig,
    in_memory: Mapping[Side, InMemoryModel] | None = None,
    on_case: Callable[[CaseRecord], None] | None = None,
) -> Run:
    """Run all cases of an audit and conclude it. `in_memory` are the models that are pipelines in memory.

    `on_case` is called with each record as soon as its case is decided. Raises what loading and writing raise.
    """
    check_waivers([config.plan], config.day)
    target_audit = TargetAudit(config)
    with ExitStack() as closing:
        closing.callback(target_audit.end)
        target_audit.begin()
        runtime = open_runtime([config], lambda count: None, in_memory)
        closing.callback(runtime.close)
        runner = target_audit.runner(runtime.runner)
        for case in config.plan.cases:
            if case.pooled:
                continue
            record = target_audit.check(case, runner, lambda: runtime.engine.counts)
            if record.case_id != case.id:
                break  # a control is refuted: nothing more is drawn
            target_audit.keep(record)
            if on_case:
                on_case(record)
        return target_audit.conclude()
