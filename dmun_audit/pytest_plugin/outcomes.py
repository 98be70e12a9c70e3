"""How tests end: what a process sends about the test that it runs, and what the controller keeps of tests that are no finding.

A claim that is refuted fails its test, and its record says so. A test can fail in other ways. An assertion of the user counts as
a failed test of the user. A crashed worker, a timeout or an error of the audit itself refutes nothing: the test has no result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit.decisions.conclude import Interruptions
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import claim_text, one_line, report_verdict
from dmun_audit.report.text import failure_text

if TYPE_CHECKING:
    from collections.abc import Collection

EVIDENCE_ATTRIBUTE = "dmun_audit"
"""The attribute of a test report that holds evidence as JSON text. Only plain types reach the controller."""

RESULT_ATTRIBUTE = "dmun_audit_words"
"""The attribute of a test report that holds the result of its case for the list of tests."""

ERROR_ATTRIBUTE = "dmun_audit_error"
"""The attribute of the report of a test after which an audit cannot continue. pytest shows it as an error, not as a failed test."""

TIMEOUT_PLUGIN = "pytest_timeout"
"""The module that ends a test whose time is up. It calls `pytest.fail` wherever the test happens to be."""

LAST_FRAMES = 3
"""Frames at the end of a traceback that show a timeout of pytest-timeout. A hook of that plugin may stand in any traceback."""

PHASES = ("setup", "call", "teardown")
"""The phases of a test. The report of a crashed worker has another `when`."""

NO_EVIDENCE: dict[str, Any] = {"records": [], "facts": [], "lost": [], "fatal": "", "no_result": False, "failed_before": ""}


@dataclass
class RunningTest:
    """What the audit did in the test that runs in this process.

    Attributes:
        records: Records of the test that its report has not taken yet, each with the index of its audit.
        has_record: Whether a case of the test got a record.
        broken: Whether an error of the audit itself, or a timeout, ended a case. Such a case gets no record.
    """

    records: list[tuple[int, CaseRecord]] = field(default_factory=list)
    has_record: bool = False
    broken: bool = False
    _failures: dict[str, str] = field(default_factory=dict)  # by node id: how a test failed when it ran before

    def keep(self, audit: int, record: CaseRecord) -> None:
        """Keep a record for the report of the test."""
        self.records.append((audit, record))
        self.has_record = True

    def attach(
        self,
        report: pytest.TestReport,
        error: pytest.ExceptionInfo[BaseException] | None,
        *,
        of_case: bool,
        facts: list[dict[str, Any]],
        lost: list[str],
        fatal: str,
    ) -> None:
        """Attach to a report what the controller must know of its test. `error` ended the phase of the report.

        `of_case` says whether a case parametrises the test. `facts` are those of every audit, and `lost` is why its model cannot
        be loaded, or empty; `fatal` is why no audit can continue.
        """
        if report.when == "setup":
            self.has_record = False
        no_result = report.failed and error is not None and self._has_no_result(error, of_case)
        before = self._failures.pop(report.nodeid, "") if report.when == "call" and report.passed else ""
        if report.failed:
            self._failures[report.nodeid] = first_line(report)
        ends = report.when == "call" or report.failed
        if ends and (self.records or fatal or any(lost) or no_result or before):
            records = [(place, record.to_json()) for place, record in self.records]
            evidence = {"records": records, "facts": facts, "lost": lost, "fatal": fatal}
            evidence |= {"no_result": no_result, "failed_before": before}
            setattr(report, EVIDENCE_ATTRIBUTE, json.dumps(evidence))
            report.sections += [("Audit", failure_text(record)) for _, record in self.records if not record.is_failure]
            self.records = []
        if ends:
            self.broken = False

    def _has_no_result(self, error: pytest.ExceptionInfo[BaseException], of_case: bool) -> bool:
        """Whether a failed test says nothing of the model: it was cut off, or its case did not come to a record."""
        if self.broken or is_timeout(error):
            return True
        by_user = isinstance(error.value, AssertionError | pytest.fail.Exception)
        return of_case and not self.has_record and not by_user


def is_timeout(error: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether a test was ended because its time was up: by pytest-timeout, or by a TimeoutError."""
    if isinstance(error.value, TimeoutError):
        return True
    raised_in = [entry.frame.f_globals.get("__name__") for entry in error.traceback[-LAST_FRAMES:]]
    return isinstance(error.value, pytest.fail.Exception) and TIMEOUT_PLUGIN in raised_in


@dataclass
class Outcomes:
    """The tests of one audit that failed by anything but a claim. Each is kept by its node id with the first line on it."""

    failed: dict[str, str] = field(default_factory=dict)
    no_result: dict[str, str] = field(default_factory=dict)
    failed_before: dict[str, str] = field(default_factory=dict)

    def note(self, report: pytest.TestReport, evidence: dict[str, Any], *, by_claim: bool) -> None:
        """Note one report. `by_claim` says whether a record explains its failure."""
        crashed = report.when not in PHASES
        if before := evidence["failed_before"]:
            self.failed_before.setdefault(report.nodeid, before)
        if str(report.outcome) == "rerun":  # pytest-rerunfailures runs the test again
            self.failed_before.setdefault(report.nodeid, first_line(report))
        elif report.failed and (crashed or evidence["no_result"]):
            self.no_result.setdefault(report.nodeid, first_line(report))
        elif report.failed and not by_claim and not evidence["fatal"] and not any(evidence["lost"]):
            self.failed.setdefault(report.nodeid, first_line(report))

    def interruptions(self, deselected: Collection[str], stopped: str) -> Interruptions:
        """Why the run is not a complete audit, as the conclusion needs it."""
        ended_badly = {*self.failed, *self.no_result}
        return Interruptions(
            deselected,
            stopped,
            failed_user_tests=_sentences(self.failed),
            without_result=_sentences(self.no_result),
            passed_again=_sentences({node: line for node, line in self.failed_before.items() if node not in ended_badly}),
        )


def _sentences(lines: dict[str, str]) -> tuple[str, ...]:
    """One sentence for each test: its node id and the first line on it, which may name the test itself."""
    return tuple(line if node in line else f"{node}: {line}" for node, line in lines.items())


def first_line(report: pytest.TestReport) -> str:
    """The first line of pytest's message about a failed test."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return next((line.strip() for line in text.splitlines() if line.strip()), str(report.when))[:300]


def result_text(record: CaseRecord) -> str:
    """The result of a case for the list of tests: its verdict, and its numbers or its sentences."""
    decided = record.claim is not None and record.claim.threshold is not None
    return f"{report_verdict(record)}: {claim_text(record.claim) if decided else one_line(record.seen)}"
