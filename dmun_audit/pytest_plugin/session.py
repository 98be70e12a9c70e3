"""The one object that the hooks talk to: knows the controller and the worker roles of pytest and pytest-xdist."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.audit.runtime import AuditRuntime
    from dmun_audit.config.resolve import AuditConfig
    from dmun_audit.plan.plan import Case
    from dmun_audit.pytest_plugin.progress import Progress
    from dmun_audit.pytest_plugin.target_audit import TargetAudit

ASKS_FOR_AUDIT = re.compile(r"^\s*(?:async\s+)?def\s+\w+\([^)]*\baudit\b", re.MULTILINE)  # a test, or a fixture on the way
AFTER_FAILURES = "stopping after"  # how pytest and pytest-xdist begin the reason of a stop by -x or --maxfail
REPORTED = "dmun_audit"  # the attribute of a report that carries evidence, as JSON text: plain types cross to the controller
NOTHING: dict[str, Any] = {"records": [], "facts": [], "fatal": "", "broken": False}


class AuditFixture:
    """What the fixture `audit` gives to a test."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def check(self, case: Case) -> dict[str, Any]:
        """Run `case` and return its record; the test fails where the claim is refuted or undecided, skips where it is void.

        A failure that the policy waives is an expected one.
        A pooled case is decided after the last test: its record is empty here, and it appears as an item of its own.
        """
        if case.pooled:
            return {}
        target = self._session.audit_of(case)
        record = self._session.run(target, case)
        if words := target.waived(record):
            pytest.xfail(words)  # a failure that is put up with; its record is evidence all the same
        if record["verdict"] in {"FAIL", "INCONCLUSIVE"}:
            pytest.fail(target.failure(record), pytrace=False)
        if record["verdict"] == "VACUOUS":
            pytest.skip(record["seen"])
        return record


class Session:
    """One pytest session. On the controller (or without workers) it plans, collects evidence and concludes."""

    def __init__(self, pytest_session: pytest.Session) -> None:
        self.config = config = pytest_session.config
        self._pytest_session = pytest_session
        self.is_worker = hasattr(config, "workerinput")
        self.audits: list[TargetAudit] = []  # one for each target; none where no test asks for an audit
        self._places: dict[int, tuple[int, int]] = {}  # of every case object: which audit, and where in its plan
        self._made: list[tuple[int, dict[str, Any]]] = []  # records of the running test, each with the place of its audit
        self._fatal = ""
        self._broken = False  # whether the running test broke inside of the audit itself
        self._node_ids: set[str] = set()
        self._ended: set[str] = set()  # node ids of the tests that ran to their end
        self._summary: list[str] = []
        self.stopped_by = ""  # what pytest says of an interruption
        self._counted = False
        self._progress: Progress | None = None

    # Planning.

    def start(self) -> None:
        """Resolve the audits if any test file named on the command line asks for them."""
        if self.is_worker:
            text = self.config.workerinput.get("dmun_setup")  # type: ignore[attr-defined]
            if text:
                from dmun_audit.config.resolve import AuditConfig

                self._plan([AuditConfig.from_json(setup) for setup in json.loads(text)])
        elif asks_for_audit(self.config.args, self.config.invocation_params.dir, self.config.getini("python_files")):
            self._resolve()

    def _resolve(self) -> None:
        from dmun_audit.config.resolve import Options
        from dmun_audit.config.targets import resolve_all

        option = self.config.option
        names = ("model", "base", "policy", "judge", "detector", "second_judge", "audit_dir", "store", "audit_seed")
        flags = ("allow_sensitive", "trust_remote_code")
        asked: dict[str, Any] = {name: getattr(option, "dmun_" + name, None) for name in names}
        asked |= {name: bool(getattr(option, "dmun_" + name, None)) for name in flags}
        options = Options(**asked, ini_base=self.config.getini("dmun_base"), root=str(self.config.rootpath))
        targets, knowledge = (getattr(option, "dmun_" + name, None) or [] for name in ("target", "knowledge"))
        try:
            self._plan(resolve_all(options, targets, knowledge))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    def _plan(self, setups: Sequence[AuditConfig]) -> None:
        from dmun_audit.pytest_plugin.target_audit import TargetAudit

        self.audits = [TargetAudit(setup) for setup in setups]
        for index, setup in enumerate(setups):
            self._places |= {id(case): (index, place) for place, case in enumerate(setup.plan.cases)}

    def header(self) -> list[str]:
        """Lines for the head of the run."""
        if not self.audits:
            return []
        from dmun_audit.pytest_plugin.target_audit import header_lines

        return header_lines(self.audits)

    def for_worker(self) -> str:
        """The resolved audits, for a worker."""
        return json.dumps([audit.setup.to_json() for audit in self.audits]) if self.audits else ""

    def cases(self, group: str) -> list[tuple[str, Case]]:
        """The cases that one fixture stands for, of all targets, each with what it is called in node ids."""
        if not self.audits and self.is_worker:
            raise pytest.UsageError(
                "no audit was resolved before the workers started\n"
                "  why:  no collected file has a test or fixture with the argument `audit` in plain sight\n"
                "  do:   run without -n, or let the tests take `audit` themselves"
            )
        if not self.audits:
            self._resolve()
        return [named for audit in self.audits for named in audit.cases(group)]

    def arrange(self, items: list[pytest.Item]) -> None:
        """Sort the tests of cases into the order of the plans, one target after the other, among the places that they hold."""
        ranks = [(place, rank) for place, item in enumerate(items) if (rank := self._rank(item)) is not None]
        ours = [items[place] for place, _ in sorted(ranks, key=lambda entry: (entry[1], entry[0]))]
        for (place, _), item in zip(ranks, ours, strict=True):
            items[place] = item

    def _rank(self, item: pytest.Item) -> tuple[int, int] | None:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        return next((self._places[id(value)] for value in parameters.values() if id(value) in self._places), None)

    def collected(self, node_ids: list[str]) -> None:
        """Remember what is to run; on the controller, open the run folders once that is known to be more than a list."""
        self._node_ids |= set(node_ids)
        if not self.audits or self.is_worker or self.config.option.collectonly or self._progress is not None:
            return
        from dmun_audit.pytest_plugin.progress import Progress
        from dmun_audit.pytest_plugin.target_audit import budget

        try:
            for audit in self.audits:
                audit.begin(self._node_ids)
        except UsageError as error:
            for audit in self.audits:
                audit.ledger = None  # nothing is concluded where one of them could not begin
            raise pytest.UsageError(str(error)) from None
        if self._begun:
            self._progress = Progress(self.config, budget(self._begun))

    @property
    def _begun(self) -> list[TargetAudit]:
        """The audits of which any case was selected: on the controller, those whose run folder is open."""
        return [audit for audit in self.audits if audit.ledger]

    # Running.

    def fixture(self) -> AuditFixture:
        """The value of the fixture `audit`."""
        return AuditFixture(self)

    @cached_property
    def _runtime(self) -> AuditRuntime:
        from dmun_audit.audit.runtime import open_runtime

        setups = [audit.setup for audit in self.audits]
        return open_runtime(setups, self._progress.rendered if self._progress else lambda count: None)

    def audit_of(self, case: Case) -> TargetAudit:
        """The audit that a case is of: equal cases may stand in the plans of several targets."""
        if id(case) in self._places:
            return self.audits[self._places[id(case)][0]]
        if len(self.audits) > 1:
            pytest.fail(f"{case.id} is a copy of a case: which target's is not known; check the case itself", pytrace=False)
        return self.audits[0]

    def run(self, target: TargetAudit, case: Case) -> dict[str, Any]:
        """Run one case in this process and keep its record for the report of the running test."""
        started = time.monotonic()
        if self._fatal:
            pytest.skip("the audit cannot go on")
        try:
            audit = target.open(lambda: self._runtime)
            before = audit.engine.rendered
            record = audit.run(case)
        except UsageError as error:
            self._fatal = str(error)
        except Exception:
            self._broken = True  # the auditor's fault and not the model's: the case stays unreported
            raise
        if self._fatal:  # outside of the except, or pytest would show the error once more as its own cause
            pytest.fail(self._fatal, pytrace=False)
        record["volatile"] = {
            "seconds": round(time.monotonic() - started, 3),
            "worker": getattr(self.config, "workerinput", {}).get("workerid", "main"),
            "rendered": audit.engine.rendered - before,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self._made.append((self.audits.index(target), record))
        return record

    def attach(self, report: pytest.TestReport) -> None:
        """Hang the evidence of the test that just ran on its report."""
        if report.when == "call" and (self._made or self._fatal or self._broken):
            facts = [audit.facts for audit in self.audits]
            carried = {"records": self._made, "facts": facts, "fatal": self._fatal, "broken": self._broken}
            setattr(report, REPORTED, json.dumps(carried))
            self._broken = False
            self._made = []

    # Collecting and concluding, on the controller.

    def receive(self, report: pytest.TestReport) -> None:
        """Write down the evidence of one report."""
        if self.is_worker or not self.audits:
            return
        if not self._counted:  # pooled claims are reported like tests, so that the terminal's percentage ends at 100
            pooled = sum(case.pooled for audit in self._begun or self.audits for case in audit.setup.plan.cases)
            self._pytest_session.testscollected += pooled
            self._counted = True
        carried = json.loads(getattr(report, REPORTED, "null")) or NOTHING
        for audit, facts in zip(self.audits, carried["facts"], strict=False):
            audit.facts = audit.facts or facts
        self._fatal = self._fatal or carried["fatal"]
        for index, record in carried["records"]:
            self._write(self.audits[index], record)
            if self._progress and record["volatile"]["worker"] != "main":
                self._progress.rendered(record["volatile"]["rendered"])
        if report.when == "teardown":
            self._ended.add(report.nodeid)
        told = {record["verdict"] for _, record in carried["records"]} & {"FAIL", "INCONCLUSIVE"}
        if report.failed and not told and not carried["fatal"] and not carried["broken"]:
            from dmun_audit.pytest_plugin.target_audit import concerned

            for audit in concerned(self.audits, report.nodeid):
                audit.own_failures.append(f"{report.nodeid}: {_crash(report)}")

    def _write(self, audit: TargetAudit, record: dict[str, Any]) -> None:
        if self._fatal:
            return
        try:
            audit.keep(record)
        except UsageError as error:
            self._fatal = str(error)
            self._pytest_session.shouldstop = "the evidence cannot be written"

    @property
    def fatal(self) -> str:
        """Why the audits cannot go on, or nothing."""
        return self._fatal

    def finish(self, session: pytest.Session, exit_status: int) -> int:
        """Conclude the audits on the controller and return the exit code."""
        interrupted = exit_status in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
        if self.is_worker or not self._begun:
            return exit_status
        if self._fatal:
            self._summary = ["", *("ERROR: " + self._fatal).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        stopped = str(session.shouldstop or session.shouldfail or (self.stopped_by or "interrupted" if interrupted else ""))
        from dmun_audit.decisions.conclude import EXIT_CODES
        from dmun_audit.pytest_plugin.target_audit import closing_lines, concerned, overall

        left = self._node_ids - self._ended if stopped else set()
        unfinished = [audit for node in left for audit in concerned(self.audits, node)] if self.audits[1:] else self.audits
        try:
            for audit in self._begun:  # of several targets, those that were done before the stop are whole
                audit.close(stopped if audit in unfinished else "")
        except UsageError as error:
            self._summary = ["", *("ERROR: " + str(error)).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        for report in [report for audit in self._begun for report in audit.pooled_reports()]:
            self.config.hook.pytest_runtest_logreport(report=report)
        self._summary, verdict = closing_lines(self.audits), overall(audit.verdict for audit in self.audits)
        if (interrupted and not stopped.startswith(AFTER_FAILURES)) or (
            verdict == "PASS" and exit_status not in {0, pytest.ExitCode.TESTS_FAILED}
        ):
            return exit_status
        outsiders = exit_status == pytest.ExitCode.TESTS_FAILED and verdict == "PASS"
        return exit_status if outsiders else EXIT_CODES[verdict]

    def summary(self) -> list[str]:
        """Lines for the end of the run."""
        return self._summary


def _crash(report: pytest.TestReport) -> str:
    """The first line of what went wrong in a test, as pytest puts it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return next((line.strip() for line in text.splitlines() if line.strip()), report.when)[:300]


def asks_for_audit(arguments: list[str], folder: Path, patterns: Sequence[str]) -> bool:
    """Whether a test file or conftest under `arguments` names the fixture `audit`; read as text, nothing is imported."""
    for argument in arguments:
        path = Path(folder, argument.split("::")[0])
        named = [file for pattern in (*patterns, "conftest.py") for file in path.rglob(pattern)] if path.is_dir() else [path]
        files = sorted({file for file in named if file.suffix == ".py"})
        for file in files:
            try:
                if ASKS_FOR_AUDIT.search(file.read_text(encoding="utf-8", errors="replace")):
                    return True
            except OSError:
                continue
    return False
