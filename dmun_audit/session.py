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

from dmun_audit.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.audit import Audit
    from dmun_audit.ledger import Ledger
    from dmun_audit.plan import Case
    from dmun_audit.progress import Progress
    from dmun_audit.setup import Setup

ASKS_FOR_AUDIT = re.compile(r"^\s*(?:async\s+)?def\s+\w+\([^)]*\baudit\b", re.MULTILINE)  # a test, or a fixture on the way
CASE_FIXTURES = frozenset({"control", "target_prompt", "adversarial", "nearby", "ordering"})
AFTER_FAILURES = "stopping after"  # how pytest and pytest-xdist begin the reason of a stop by -x or --maxfail
REPORTED = "dmun_audit"  # the attribute of a report that carries evidence, as JSON text: plain types cross to the controller


class AuditFixture:
    """What the fixture `audit` gives to a test."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def check(self, case: Case) -> dict[str, Any]:
        """Run `case` and return its record; the test fails where the claim is refuted or undecided, skips where it is void.

        A pooled case is decided after the last test: its record is empty here, and it appears as an item of its own.
        """
        if case.pooled:
            return {}
        record = self._session.run(case)
        if record["verdict"] in {"FAIL", "INCONCLUSIVE"}:
            pytest.fail(self._session.failure(record), pytrace=False)
        if record["verdict"] == "VACUOUS":
            pytest.skip(record["seen"])
        return record


class Session:
    """One pytest session. On the controller (or without workers) it plans, collects evidence and concludes."""

    def __init__(self, pytest_session: pytest.Session) -> None:
        self.config = config = pytest_session.config
        self._pytest_session = pytest_session
        self.is_worker = hasattr(config, "workerinput")
        self.setup: Setup | None = None
        self._made: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._fatal = ""
        self._node_ids: set[str] = set()
        self._records: dict[str, dict[str, Any]] = {}
        self._own_failures: list[str] = []
        self._summary: list[str] = []
        self.stopped_by = ""  # what pytest says of an interruption
        self._counted = False
        self._ledger: Ledger | None = None
        self._progress: Progress | None = None

    # Planning.

    def start(self) -> None:
        """Resolve the audit if any test file named on the command line asks for it."""
        if self.is_worker:
            text = self.config.workerinput.get("dmun_setup")  # type: ignore[attr-defined]
            if text:
                from dmun_audit.setup import Setup

                self.setup = Setup.from_json(text)
        elif asks_for_audit(self.config.args, self.config.invocation_params.dir, self.config.getini("python_files")):
            self._resolve()

    def _resolve(self) -> Setup:
        from dmun_audit.setup import Options, resolve

        option = self.config.option
        names = ("target", "model", "base", "knowledge", "policy", "judge", "audit_dir", "store", "audit_seed")
        asked = {name: getattr(option, "dmun_" + name, None) for name in names}
        allowed = bool(getattr(option, "dmun_allow_sensitive", None))
        try:
            self.setup = resolve(
                Options(
                    **asked, allow_sensitive=allowed, ini_base=self.config.getini("dmun_base"), root=str(self.config.rootpath)
                )
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        return self.setup

    def header(self) -> list[str]:
        """Lines for the head of the run."""
        if self.setup is None:
            return []
        from dmun_audit.setup import describe

        return describe(self.setup)

    def for_worker(self) -> str:
        """The resolved audit, for a worker."""
        return self.setup.to_json() if self.setup else ""

    def cases(self, group: str) -> tuple[Case, ...]:
        """The cases that one fixture stands for."""
        if self.setup is None and self.is_worker:
            raise pytest.UsageError(
                "no audit was resolved before the workers started\n"
                "  why:  no collected file has a test or fixture with the argument `audit` in plain sight\n"
                "  do:   run without -n, or let the tests take `audit` themselves"
            )
        setup = self.setup or self._resolve()
        return setup.plan.of_group(group, pooled=group == "ordering")  # type: ignore[arg-type]

    def arrange(self, items: list[pytest.Item]) -> None:
        """Sort the tests of cases into the order of the plan, among the places that they hold."""
        if self.setup is None:
            return
        order = {case.id: place for place, case in enumerate(self.setup.plan.cases)}
        places = [(place, order[case]) for place, item in enumerate(items) if (case := self._case_of(item)) in order]
        ours = sorted(((rank, place, items[place]) for place, rank in places), key=lambda entry: entry[:2])
        for (place, _), (_, _, item) in zip(places, ours, strict=True):
            items[place] = item

    def _case_of(self, item: pytest.Item) -> str:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        return next((value.id for name, value in parameters.items() if name in CASE_FIXTURES), "")

    def collected(self, node_ids: list[str]) -> None:
        """Remember what is to run; on the controller, open the run folder once that is known to be more than a list."""
        self._node_ids |= set(node_ids)
        if self.setup and not self.is_worker and not self.config.option.collectonly and self._progress is None:
            from dmun_audit.ledger import Ledger
            from dmun_audit.progress import Progress

            selected = self._selected()
            if not selected:
                return
            planned = {case.id for case in self.setup.plan.cases if not case.pooled}
            ledger = Ledger(self.setup, whole=planned <= selected)
            try:
                ledger.begin()
            except UsageError as error:
                raise pytest.UsageError(str(error)) from None
            self._ledger = ledger
            self._progress = Progress(self.config, self.setup.plan.image_budget())

    def _selected(self) -> set[str]:
        assert self.setup is not None
        cases = {case.id for case in self.setup.plan.cases}
        inside = [part for node in self._node_ids for part in re.findall(r"\[(.*)\]$", node)]
        return {case for case in cases for part in inside if case == part or case in part}

    # Running.

    def fixture(self) -> AuditFixture:
        """The value of the fixture `audit`."""
        return AuditFixture(self)

    @cached_property
    def _audit(self) -> Audit:
        from dmun_audit.assemble import assemble

        assert self.setup is not None
        audit, self._facts = assemble(self.setup, self._progress.rendered if self._progress else lambda count: None)
        return audit

    def failure(self, record: dict[str, Any]) -> str:
        """The text of a failing case, and where its images are."""
        from dmun_audit.report.text import failure_text

        assert self.setup is not None
        return f"{failure_text(record)}\n  (images lie in {self.setup.run_folder})"

    def run(self, case: Case) -> dict[str, Any]:
        """Run one case in this process and keep its record for the report of the running test."""
        started = time.monotonic()
        try:
            engine = self._audit.engine
            before = engine.rendered
            record = self._audit.run(case)
        except UsageError as error:
            self._fatal = str(error)
            pytest.fail(str(error), pytrace=False)
        worker = getattr(self.config, "workerinput", {}).get("workerid", "main")
        record["volatile"] = {
            "seconds": round(time.monotonic() - started, 3),
            "worker": worker,
            "rendered": engine.rendered - before,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self._made.append(record)
        return record

    def attach(self, report: pytest.TestReport) -> None:
        """Hang the evidence of the test that just ran on its report."""
        if report.when == "call" and (self._made or self._fatal):
            setattr(report, REPORTED, json.dumps({"records": self._made, "facts": self._facts, "fatal": self._fatal}))
            self._made = []

    # Collecting and concluding, on the controller.

    def receive(self, report: pytest.TestReport) -> None:
        """Write down the evidence of one report."""
        if self.is_worker or self.setup is None:
            return
        if not self._counted:  # pooled claims are reported like tests, so that the terminal's percentage ends at 100
            self._pytest_session.testscollected += sum(case.pooled for case in self.setup.plan.cases)
            self._counted = True
        carried = json.loads(getattr(report, REPORTED, "null")) or {"records": [], "facts": {}, "fatal": ""}
        self._facts = self._facts or carried["facts"]
        self._fatal = self._fatal or carried["fatal"]
        for record in carried["records"]:
            self._records[record["case_id"]] = record
            self._write(record)
            if self._progress and record["volatile"]["worker"] != "main":
                self._progress.rendered(record["volatile"]["rendered"])
        told = {record["verdict"] for record in carried["records"]} & {"FAIL", "INCONCLUSIVE"}
        if report.failed and not told and not carried["fatal"] and self._beside_the_audit(report.nodeid):
            self._own_failures.append(f"{report.nodeid}: {_crash(report)}")

    def _write(self, record: dict[str, Any]) -> None:
        if self._ledger is None or self._fatal:
            return
        try:
            self._ledger.write(record)
        except UsageError as error:
            self._fatal = str(error)
            self._pytest_session.shouldstop = "the evidence cannot be written"

    def _beside_the_audit(self, node_id: str) -> bool:
        """Whether a test stands in a folder that holds tests of the audit: then it belongs to the audit."""
        assert self.setup is not None
        cases = {case.id for case in self.setup.plan.cases}
        ours = {_folder(node) for node in self._node_ids if any(case in node for case in cases)}
        return _folder(node_id) in ours

    @property
    def fatal(self) -> str:
        """Why the audit cannot go on, or nothing."""
        return self._fatal

    def finish(self, session: pytest.Session, exit_status: int) -> int:
        """Conclude the audit on the controller and return the exit code."""
        interrupted = exit_status in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
        if self.is_worker or self.setup is None or self._ledger is None:
            return exit_status
        if self._fatal:
            self._summary = ["", *("ERROR: " + self._fatal).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        stopped = str(session.shouldstop or session.shouldfail or (self.stopped_by or "interrupted" if interrupted else ""))
        planned = {case.id for case in self.setup.plan.cases if not case.pooled}
        try:
            ending = self._ledger.close(
                self._records,
                facts=self._facts,
                deselected=planned - self._selected(),
                stopped=stopped,
                own_failures=self._own_failures,
            )
        except UsageError as error:
            self._summary = ["", *("ERROR: " + str(error)).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        for record in ending.pooled:
            self.config.hook.pytest_runtest_logreport(
                report=pooled_report(record, self.failure(record), self._file_of(record["group"]))
            )
        self._summary = ending.summary
        if (interrupted and not stopped.startswith(AFTER_FAILURES)) or (
            ending.exit_code == 0 and exit_status not in {0, pytest.ExitCode.TESTS_FAILED}
        ):
            return exit_status
        outsiders = exit_status == pytest.ExitCode.TESTS_FAILED and ending.verdict == "PASS"
        return exit_status if outsiders else ending.exit_code

    def _file_of(self, group: str) -> str:
        """The test file in which most cases of a group were run: where its pooled claims are listed."""
        assert self.setup is not None
        ids = [case.id for case in self.setup.plan.of_group(group)]  # type: ignore[arg-type]
        files = [node.partition("::")[0] for node in sorted(self._node_ids) if any(case in node for case in ids)]
        return files[0] if files else f"audits/test_{group}.py"

    def summary(self) -> list[str]:
        """Lines for the end of the run."""
        return self._summary


def pooled_report(record: dict[str, Any], failure: str, file: str) -> pytest.TestReport:
    """The report of a claim that was decided after the last test, so that terminal and JUnit list it."""
    failed = record["verdict"] in {"FAIL", "INCONCLUSIVE"}
    return pytest.TestReport(
        nodeid=f"{file}::pooled[{record['case_id']}]",
        location=(file, None, f"pooled[{record['case_id']}]"),
        keywords={},
        outcome="failed" if failed else "passed",
        longrepr=failure if failed else None,
        when="call",
        duration=0.0,
        start=time.time(),
        stop=time.time(),
    )


def _folder(node_id: str) -> str:
    return node_id.partition("::")[0].rpartition("/")[0]


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
