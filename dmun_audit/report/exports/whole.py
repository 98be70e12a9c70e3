"""audit.json: the whole audit in one file, with a published schema (`dmun-audit schema audit`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, Record
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.scope import alerts, scope_lines, thin_lines
from dmun_audit.report.standing import release_lines
from dmun_audit.report.waivers import headline
from dmun_audit.verdict.vocabulary import AuditVerdict

FORMAT = 1


class WholeAudit(Record):
    """One audit: its verdict in words, its scope, the manifest, and all cases."""

    format: int = FORMAT
    verdict: AuditVerdict = Field(description="As derived again from the evidence.")
    headline: str = Field(description="The verdict with what qualifies it, such as waivers.")
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    scope: tuple[str, ...] = Field(default=(), description="What was tried, and what a PASS does not cover.")
    cautions: tuple[str, ...] = Field(default=(), description="What a reader must know besides the verdict.")
    release: tuple[str, ...] = Field(default=(), description="Whether the audit is release evidence.")
    baseline: tuple[str, ...] = Field(default=(), description="Whether the candidate is worse than an earlier one (--baseline).")
    manifest: Manifest
    cases: tuple[CaseRecord, ...] = ()


def whole_audit(run: Run) -> WholeAudit:
    """The record of a run."""
    return WholeAudit(
        verdict=run.verdict,
        headline=headline(run),
        reasons=run.reasons,
        warnings=run.warnings,
        scope=tuple(scope_lines(run)),
        cautions=(*alerts(run), *thin_lines(run)),
        release=tuple(release_lines(run)),
        baseline=tuple(baseline_lines(run)),
        manifest=run.manifest,
        cases=run.cases,
    )


def whole_audit_schema() -> dict[str, Any]:
    """The JSON Schema of audit.json."""
    return WholeAudit.model_json_schema(mode="serialization")
