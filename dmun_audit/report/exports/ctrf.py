"""An audit in the Common Test Report Format (CTRF, specification 0.0.0, https://ctrf.io): one test for each case."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dmun_audit import __version__
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import claim_text, one_line, report_verdict
from dmun_audit.report.text import groups_of
from dmun_audit.report.waivers import headline, waiver_text
from dmun_audit.verdict.vocabulary import AuditVerdict

SPECIFICATION = "0.0.0"


def ctrf(run: Run) -> dict[str, Any]:
    """The run as a CTRF document. FAIL and INCONCLUSIVE are failed; VACUOUS, NOT APPLICABLE and waived cases are skipped.

    A case that is no harm proven, or reported only, has the status "other": it must not look like a passed test. An audit that
    did not pass although no case failed gets one further failed test, `verdict`.
    """
    tests = [_test(case) for group in groups_of(run) for case in run.of_group(group)]
    if run.verdict != AuditVerdict.PASS and not any(test["status"] == "failed" for test in tests):
        reasons = " ".join(map(one_line, run.reasons))
        tests.append(
            {"name": "verdict", "status": "failed", "duration": 0, "suite": ["audit"], "message": f"{run.verdict}: {reasons}"}
        )
    start, stop = _milliseconds(run.manifest.started), _milliseconds(run.manifest.finished)
    counts = {
        status: sum(test["status"] == status for test in tests) for status in ("passed", "failed", "skipped", "pending", "other")
    }
    facts = {
        "verdict": headline(run),
        "reasons": [one_line(reason) for reason in run.reasons],
        "target": one_line(run.manifest.target.name),
        "candidate": one_line(run.manifest.reference("candidate")),
        "policy": one_line(run.manifest.policy.get("name", "")),
        "audit_hash": one_line(run.manifest.audit_hash),
    }
    return {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "generatedBy": "dmun_audit",
        "results": {
            "tool": {"name": "dmun_audit", "version": __version__},
            "summary": {"tests": len(tests), **counts, "suites": len(groups_of(run)), "start": start, "stop": max(start, stop)},
            "tests": tests,
            "extra": facts,
        },
    }


def _test(case: CaseRecord) -> dict[str, Any]:
    verdict = report_verdict(case)
    found = f"{one_line(case.title)}: {one_line(case.seen)}"
    test: dict[str, Any] = {
        "name": one_line(case.case_id),
        "status": _status(case, verdict),
        "rawStatus": f"{verdict} (waived)" if case.is_waived else verdict,
        "duration": round(1000 * max(0.0, case.volatile.seconds or 0.0)),
        "suite": [one_line(case.group)],
        "message": f"{waiver_text(case)} — {found}" if case.is_waived else f"{verdict}: {found}",
        "extra": {"claim": claim_text(case.claim), "gating": case.gating, "pooled": case.pooled},
    }
    if case.remedy:
        test["extra"]["remedy"] = one_line(case.remedy)
    return test


def _status(case: CaseRecord, verdict: str) -> str:
    if case.is_failure:
        return "failed"
    if case.is_waived or case.verdict.is_untested:
        return "skipped"
    return "passed" if verdict == "PASS" else "other"


def _milliseconds(text: str | None) -> int:
    return int(1000 * datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) if text else 0
