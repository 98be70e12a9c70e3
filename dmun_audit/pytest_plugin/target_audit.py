"""One target's audit in a session: which tests are its own, what they reported, its books and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit.config.resolve import AuditConfig, describe
from dmun_audit.config.targets import SEPARATOR
from dmun_audit.plan.waivers import with_waivers

if TYPE_CHECKING:
    from dmun_audit.audit.ledger import Ending, Ledger
    from dmun_audit.audit.runner import Audit
    from dmun_audit.audit.runtime import AuditRuntime
    from dmun_audit.plan.plan import Case

Record = dict[str, Any]
FIRST_MATCH = ("INCOMPLETE", "FAIL", "PARTIAL", "INCONCLUSIVE", "PASS")  # the verdict over several targets: the first there is


class TargetAudit:
    """One audit of a session. Workers open it and run its cases; the controller keeps its books and concludes it."""

    def __init__(self, setup: AuditConfig) -> None:
        self.setup = setup
        self.name = setup.dossier.target.name
        self.records: dict[str, Record] = {}
        self.facts: Record = {}
        self.own_failures: list[str] = []
        self.ledger: Ledger | None = None
        self.ending: Ending | None = None  # none before the end, and for a target that is not audited in this session
        self._node_ids: list[str] = []  # of the tests that are of its cases
        self._audit: Audit | None = None

    # Which tests are its own.

    def parameter(self, case_id: str) -> str:
        """How a case is called in node ids: its id, behind the target's prefix where several targets are audited."""
        return f"{self.setup.prefix}{SEPARATOR}{case_id}" if self.setup.prefix else case_id

    def cases(self, group: str) -> list[tuple[str, Case]]:
        """The cases that one fixture stands for, each with what it is called in node ids."""
        found = self.setup.plan.of_group(group, pooled=group == "ordering")  # type: ignore[arg-type]
        return [(self.parameter(case.id), case) for case in found]

    def cases_of(self, node_id: str) -> set[str]:
        """Ids of its cases that a test is of: as a rule one, or none."""
        _, bracket, inside = node_id.partition("[")
        return {case_id for name, case_id in self._case_ids.items() if name in inside} if bracket else set()

    @cached_property
    def _case_ids(self) -> dict[str, str]:
        return {self.parameter(case.id): case.id for case in self.setup.plan.cases}

    @cached_property
    def folders(self) -> set[str]:
        """The folders in which its tests stand: what else stands there belongs to the audit."""
        return {folder_of(node) for node in self._node_ids}

    @property
    def verdict(self) -> str | None:
        """What the audit came to, once it is concluded."""
        return self.ending.verdict if self.ending else None

    # Running, in any process.

    def open(self, runtime: Callable[[], AuditRuntime]) -> Audit:
        """What runs its cases, made once. Raises LoadError where a model or the judge cannot be loaded."""
        if self._audit is None:
            self._audit, self.facts = runtime().audit(self.setup)
        return self._audit

    def failure(self, record: Record) -> str:
        """The text of a failing case, and where its images are."""
        from dmun_audit.report.text import failure_text

        return f"{failure_text(record)}\n  (images lie in {self.setup.run_folder})"

    def waived(self, record: Record) -> str:
        """What is said of a case whose verdict is waived; empty where it is not."""
        from dmun_audit.report.waivers import waiver_words

        return waiver_words(with_waivers(self.setup.plan, [record], self.setup.day)[0])

    # Keeping books and concluding, on the controller.

    def begin(self, node_ids: Iterable[str]) -> None:
        """Open the run folder if any of these tests, which are to run, is of one of its cases.

        Raises UsageError where the folder holds another audit, and StoreError where it or the store cannot be written.
        """
        from dmun_audit.audit.ledger import Ledger

        self._node_ids = sorted(node for node in node_ids if self.cases_of(node))
        if self._node_ids:
            ledger = Ledger(self.setup, whole=not self._deselected())
            ledger.begin()
            self.ledger = ledger

    def keep(self, record: Record) -> None:
        """Note the record of one case and write it down. Raises StoreError where it cannot be written."""
        self.records[record["case_id"]] = record
        if self.ledger:
            self.ledger.write(record)

    def close(self, stopped: str) -> None:
        """Conclude from what was reported; `stopped` says why tests of the audit did not run, if so."""
        assert self.ledger is not None
        self.ending = self.ledger.close(
            self.records, facts=self.facts, deselected=self._deselected(), stopped=stopped, own_failures=self.own_failures
        )

    def pooled_reports(self) -> list[pytest.TestReport]:
        """Reports of the claims that were decided after the last test, so that terminal and JUnit list them."""
        pooled = self.ending.pooled if self.ending else []
        return [self._pooled_report(record, self._file_of(record["group"])) for record in pooled]

    def _pooled_report(self, record: Record, file: str) -> pytest.TestReport:
        words = self.waived(record)
        failed = record["verdict"] in {"FAIL", "INCONCLUSIVE"} and not words
        name = f"pooled[{self.parameter(record['case_id'])}]"
        report = pytest.TestReport(
            nodeid=f"{file}::{name}",
            location=(file, None, name),
            keywords={},
            outcome="failed" if failed else "skipped" if words else "passed",
            longrepr=self.failure(record) if failed else (file, 0, words) if words else None,
            when="call",
            duration=0.0,
            start=time.time(),
            stop=time.time(),
        )
        if words:
            report.wasxfail = f"reason: {words}"  # what pytest knows an expected failure by
        return report

    def _file_of(self, group: str) -> str:
        """The test file in which most cases of a group were run: where its pooled claims are listed."""
        ids = {case.id for case in self.setup.plan.of_group(group)}  # type: ignore[arg-type]
        files = [node.partition("::")[0] for node in self._node_ids if ids & self.cases_of(node)]
        return files[0] if files else f"audits/test_{group}.py"

    def _deselected(self) -> set[str]:
        selected = {case_id for node in self._node_ids for case_id in self.cases_of(node)}
        return {case.id for case in self.setup.plan.cases if not case.pooled} - selected


def budget(audits: Sequence[TargetAudit]) -> int:
    """The most images that these audits can ask for; what they share is drawn once, so it may be fewer."""
    return sum(audit.setup.plan.image_budget() for audit in audits)


def concerned(audits: Sequence[TargetAudit], node_id: str) -> list[TargetAudit]:
    """The audits to which a test belongs: that of its case; without a case, those with tests in the same folder."""
    owners = [audit for audit in audits if audit.cases_of(node_id)]
    return owners or [audit for audit in audits if folder_of(node_id) in audit.folders]


def overall(verdicts: Iterable[str | None]) -> str:
    """The verdict over several targets. None is that of a target of which no case was to run: the whole is PARTIAL at best."""
    found = {verdict or "PARTIAL" for verdict in verdicts}
    return next(verdict for verdict in FIRST_MATCH if verdict in found)


def header_lines(audits: Sequence[TargetAudit]) -> list[str]:
    """The head of a run: what is audited against what, target by target."""
    lines = [line for audit in audits for line in describe(audit.setup)]
    several = f"dmun_audit: {len(audits)} targets, up to {budget(audits):,} images in all"
    return [*lines, several] if len(audits) > 1 else lines


def closing_lines(audits: Sequence[TargetAudit]) -> list[str]:
    """The end of the terminal's output: each target's own summary, and below several a line for each with its verdict."""
    if len(audits) == 1:
        return list(audits[0].ending.summary) if audits[0].ending else []
    from dmun_audit.report.formatting import one_line

    names = [one_line(audit.name) for audit in audits]
    lines = []
    for name, audit in zip(names, audits, strict=True):
        if audit.ending:
            lines += ["", f"{name}:", *audit.ending.summary]
    rests = any(audit.ending and audit.ending.headline != audit.ending.verdict for audit in audits)
    lines += ["", f"{len(audits)} targets: {overall(audit.verdict for audit in audits)}{', resting on waivers' if rests else ''}"]
    width = max(map(len, names))
    return lines + [f"  {name:<{width}}  {_ending(audit)}" for name, audit in zip(names, audits, strict=True)]


def folder_of(node_id: str) -> str:
    """The folder of a test's file."""
    return node_id.partition("::")[0].rpartition("/")[0]


def _ending(audit: TargetAudit) -> str:
    if audit.ending is None or audit.ledger is None:
        return "not audited: none of its cases was selected"
    return f"{audit.ending.headline:<12}  {audit.ledger.folder.path / 'report.html'}"
