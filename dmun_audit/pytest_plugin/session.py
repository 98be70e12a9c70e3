"""The object that the pytest hooks call. It acts as the controller or as a worker of pytest-xdist."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit._util.workflow_commands import escaped, guard_terminal
from dmun_audit.pytest_plugin.discovery import POOLED, asks_for_audit, case_of

if TYPE_CHECKING:
    from dmun_audit.config.audit_config import AuditConfig
    from dmun_audit.config.campaign import Campaign
    from dmun_audit.evidence.schema import CaseRecord
    from dmun_audit.plan.case import Case
    from dmun_audit.pytest_plugin.audit_fixture import AuditFixture
    from dmun_audit.pytest_plugin.case_runs import CaseRuns
    from dmun_audit.pytest_plugin.drawn_counts import DrawnCounts, WorkerCount
    from dmun_audit.pytest_plugin.progress import Progress
    from dmun_audit.pytest_plugin.target_tests import TargetTests
    from dmun_audit.verdict.vocabulary import AuditVerdict

AFTER_FAILURES = "stopping after"
"""The reason of a stop by -x or --maxfail starts like this, in pytest and in pytest-xdist."""

KEPT = "What was drawn and decided is kept: type the same command again to go on from here."
STANDS = "This run was stopped. It decided nothing new, so the earlier verdict in the run folder stands."
KEPT_WITHOUT_X = "What was drawn and decided is kept: the same command without -x or --maxfail goes on from here."


class Session:
    """One pytest session. The controller, or the only process, plans, collects evidence and concludes."""

    def __init__(self, pytest_session: pytest.Session) -> None:
        self.config = config = pytest_session.config
        self._pytest_session = pytest_session
        self._workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.tests: list[TargetTests] = []  # one for each audit, by model and target; empty if no test uses an audit
        self._campaign: Campaign | None = None  # on the controller, if the session leaves a table
        self._runs: CaseRuns | None = None  # what this process runs of the audits
        self._node_ids: set[str] = set()
        self._finished: set[str] = set()  # node ids of finished tests
        self._summary: list[str] = []
        self.stopped_by = ""  # pytest's reason for an interruption
        self._counted = False
        self._progress: Progress | None = None
        self._price: float | None = None  # of an hour
        self._counts: DrawnCounts | None = None  # on the controller of pytest-xdist
        self._worker_count: WorkerCount | None = None
        self._decided: list[tuple[TargetTests, str]] = []  # audits and groups of the cases in the last report

    @property
    def is_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist."""
        return self._workerinput is not None

    # Planning.

    def start(self) -> None:
        """Resolve the audits if a test file on the command line uses the fixture `audit`."""
        if self._workerinput is not None:
            if text := self._workerinput.get("dmun_audit"):
                from dmun_audit.config.audit_config import AuditConfig
                from dmun_audit.pytest_plugin.drawn_counts import WorkerCount

                self._worker_count = WorkerCount(Path(self._workerinput["dmun_audit_counts"]), self._workerinput["workerid"])
                self._plan([AuditConfig.from_json(config) for config in json.loads(text)])
            return
        if pooled := next((text for text in self.config.args if f"::{POOLED}[" in text), ""):
            file = pooled.partition("::")[0]
            raise pytest.UsageError(
                escaped(
                    str(UsageError(f"{pooled} is a claim over a whole group", "no test runs it alone", f"run its file: {file}"))
                )
            )
        if asks_for_audit(self.config.args, self.config.invocation_params.dir, self.config.getini("python_files")):
            self._resolve()

    def _resolve(self) -> None:
        from dmun_audit.config.campaign import resolve_campaign
        from dmun_audit.pytest_plugin.options import given_options, price_of

        try:
            self._price = price_of(self.config)
            campaign = resolve_campaign(given_options(self.config), only_listed=self.config.option.collectonly)
        except UsageError as error:
            raise pytest.UsageError(escaped(str(error))) from None
        self._campaign = campaign if campaign.folder else None
        self._plan(campaign.configs)

    def _plan(self, configs: Sequence[AuditConfig]) -> None:
        from dmun_audit.pytest_plugin.case_runs import CaseRuns
        from dmun_audit.pytest_plugin.target_tests import TargetTests

        self.tests = [TargetTests(config) for config in configs]
        worker, level = (self._workerinput or {}).get("workerid", "main"), self.config.getoption("log_level", None)
        self._runs = CaseRuns(self.tests, worker, level, self._rendered)
        guard_terminal(self.config)

    def header(self) -> list[str]:
        """Lines for the header of the run."""
        if not self.tests:
            return []
        if self._campaign:
            from dmun_audit.pytest_plugin.campaign_tests import header_of_campaign

            return header_of_campaign(self._campaign, self.tests)
        from dmun_audit.pytest_plugin.target_tests import header_lines

        return header_lines(self.tests)

    def for_worker(self) -> dict[str, str]:
        """What a worker needs: the resolved audits, and the folder for its number of images."""
        if not self.tests:
            return {}
        if self._counts is None:
            from dmun_audit.pytest_plugin.drawn_counts import DrawnCounts

            self._counts = DrawnCounts()
        return {
            "dmun_audit": json.dumps([each.config.to_json() for each in self.tests]),
            "dmun_audit_counts": str(self._counts.folder),
        }

    def case_fixtures(self) -> list[str]:
        """The names of the fixtures whose values are cases."""
        from dmun_audit.claim_groups.registry import claim_groups

        return list(dict.fromkeys(group.fixture for group in claim_groups()))

    def cases(self, fixture: str) -> list[tuple[str, Case]]:
        """The cases of a fixture, for all audits, each with its name in node ids."""
        from dmun_audit.claim_groups.registry import claim_groups

        if not self.tests and self.is_worker:
            raise pytest.UsageError(
                "no audit was resolved before the workers started\n"
                "  why:  no test or fixture in the test files has the argument `audit`\n"
                "  do:   run without -n, or give the tests the argument `audit`"
            )
        if not self.tests:
            self._resolve()
        groups = [group.name for group in claim_groups() if group.fixture == fixture]
        return [case for tests in self.tests for group in groups for case in tests.cases(group)]

    def arrange(self, items: list[pytest.Item]) -> None:
        """Sort the tests of cases by model, target and plan. Other tests keep their positions."""
        configs = [each.config for each in self.tests]
        ranks = {(each.prefix, case.id): (p, c) for p, each in enumerate(configs) for c, case in enumerate(each.plan.cases)}
        ranked = [(place, ranks[key]) for place, item in enumerate(items) if (key := case_of(item)) in ranks]
        ours = [items[place] for place, _ in sorted(ranked, key=lambda entry: (entry[1], entry[0]))]
        for (place, _), item in zip(ranked, ours, strict=True):
            items[place] = item

    def collected(self, node_ids: list[str]) -> None:
        """Note the selected tests. The controller also opens the run folders, unless pytest only lists the tests."""
        self._node_ids |= set(node_ids)
        if not self.tests or self.config.option.collectonly or self._progress is not None:
            return
        if self.is_worker:
            for each in self.tests:
                each.collected(self._node_ids)
                each.share_work()
            return
        from dmun_audit.pytest_plugin.progress import Progress
        from dmun_audit.pytest_plugin.target_tests import images_left
        from dmun_audit.pytest_plugin.terminal_lines import TerminalLines

        for each in self.tests:
            each.collected(self._node_ids)
        try:
            if self._campaign and self._campaign.folder:
                from dmun_audit.campaigns.folder import prepare

                prepare(self._campaign.folder, self._campaign.id)
            for each in self.tests:
                each.begin()
        except UsageError as error:
            for each in self.tests:
                each.audit.folder = None  # no audit is concluded if one of them could not begin
                each.audit.end()
            raise pytest.UsageError(escaped(str(error))) from None
        if self._begun:
            lines = TerminalLines(self.config, has_workers=self._counts is not None)
            self._progress = Progress(lines, lambda: images_left(self._begun), self._counts, self._price)

    @property
    def _begun(self) -> list[TargetTests]:
        """The audits with a selected case. Only the controller has any: their run folders are open."""
        return [each for each in self.tests if each.audit.folder]

    # Running.

    def fixture(self) -> AuditFixture:
        """The value of the fixture `audit`."""
        from dmun_audit.pytest_plugin.audit_fixture import AuditFixture

        return AuditFixture(self)

    def tests_of(self, case: Case) -> TargetTests:
        """See `CaseRuns.tests_of`."""
        return self._planned.tests_of(case)

    def run(self, tests: TargetTests, case: Case) -> CaseRecord:
        """See `CaseRuns.run`."""
        return self._planned.run(tests, case)

    @property
    def _planned(self) -> CaseRuns:
        if self._runs is None:
            pytest.fail("no audit was resolved: check a case that a fixture gives", pytrace=False)
        return self._runs

    def attach(self, item: pytest.Item, report: pytest.TestReport, error: pytest.ExceptionInfo[BaseException] | None) -> None:
        """See `CaseRuns.attach`."""
        if self._runs:
            self._runs.attach(item, report, error)

    def _rendered(self, count: int) -> None:
        if self._progress:
            self._progress.rendered(count)
        if self._worker_count:
            self._worker_count.rendered(count)

    # Collecting and concluding, on the controller.

    def receive(self, report: pytest.TestReport) -> None:
        """Write the evidence of one report."""
        if self.is_worker or self._runs is None:
            return
        from dmun_audit.evidence.schema import CaseRecord
        from dmun_audit.pytest_plugin.outcomes import (
            ERROR_ATTRIBUTE,
            EVIDENCE_ATTRIBUTE,
            NO_EVIDENCE,
            RESULT_ATTRIBUTE,
            result_text,
        )
        from dmun_audit.pytest_plugin.shown_cases import add_to_html_row, has_html_report
        from dmun_audit.pytest_plugin.target_tests import audits_of_test
        from dmun_audit.verdict.vocabulary import Verdict

        self._count_pooled()
        evidence = json.loads(getattr(report, EVIDENCE_ATTRIBUTE, "null")) or NO_EVIDENCE
        for each, facts in zip(self.tests, evidence["facts"], strict=False):
            each.audit.facts = each.audit.facts or facts
        for each, lost in zip(self.tests, evidence["lost"], strict=False):
            each.lost = each.lost or lost
        records = [(self.tests[place], CaseRecord.model_validate(content)) for place, content in evidence["records"]]
        self._keep(records)
        self._runs.fatal = self._runs.fatal or evidence["fatal"]
        if report.failed and not records and (evidence["fatal"] or any(evidence["lost"])):
            setattr(report, ERROR_ATTRIBUTE, True)  # the audit cannot continue: no claim failed
        if len(records) == 1 and (report.passed or (report.failed and records[0][1].verdict == Verdict.INCONCLUSIVE)):
            setattr(report, RESULT_ATTRIBUTE, result_text(records[0][1]))
        if has_html_report(self.config):
            for tests, record in records:
                if record.verdict.is_failure:
                    add_to_html_row(report, tests.config, record)
        if report.when == "teardown":
            self._finished.add(report.nodeid)
        by_claim = any(record.verdict.is_failure for _, record in records)
        for each in audits_of_test(self.tests, report.nodeid):
            each.outcomes.note(report, evidence, by_claim=by_claim)

    def _count_pooled(self) -> None:
        """Count the pooled claims as tests, so that the terminal's percentage ends at 100."""
        if not self._counted:
            begun = self._begun or self.tests
            self._pytest_session.testscollected += sum(case.pooled for each in begun for case in each.config.plan.cases)
            self._pytest_session.testscollected += len(self._campaign.lost) if self._campaign else 0
            self._counted = True

    def _keep(self, records: Sequence[tuple[TargetTests, CaseRecord]]) -> None:
        """Write records, until one cannot be written."""
        for tests, record in records:
            if not self.fatal:
                try:
                    tests.audit.keep(record)
                except UsageError as error:
                    self._planned.fatal = str(error)
                    self._pytest_session.shouldstop = "the evidence cannot be written"
            self._decided.append((tests, record.group))
        if self._progress and records:
            self._progress.decided()

    @contextmanager
    def without_live_line(self) -> Iterator[None]:
        """Take the live line of the progress away while pytest writes."""
        if self._progress is None:
            yield
            return
        lines = self._progress.lines
        lines.pause()
        try:
            yield
        finally:
            lines.resume()

    def announce(self) -> None:
        """Show the pooled claims that the last report decided. Call it when pytest has shown the report."""
        decided, self._decided = self._decided, []
        if self._progress is None or self.fatal:
            return
        from dmun_audit.report.text import claim_line

        for tests, group in dict.fromkeys(decided):
            for record in tests.decided_claims(group):
                self._progress.lines.line(f"  {tests.place if self.tests[1:] else ''}{claim_line(record)}")

    @property
    def fatal(self) -> str:
        """The reason why the audits cannot continue; empty if they can."""
        return self._runs.fatal if self._runs else ""

    def finish(self, session: pytest.Session, exit_status: int) -> int:
        """Conclude the audits on the controller and return the exit code."""
        if self._runs:
            self._runs.end_log()
        cost = ""
        if self._progress:
            self._progress.end()
            cost = self._progress.cost(time.monotonic())
        if self._counts:
            self._counts.end()
        try:
            code = self._conclude(session, exit_status)
            if cost and self._summary and not self.fatal:
                self._summary.append(cost)
            self._track()
            return code
        finally:
            for each in self.tests:
                each.audit.end()
            if self._runs:
                self._runs.close()

    def _track(self) -> None:
        """Log the audits that were concluded, if a tracker is asked for. A failure is a line at the end and changes nothing else."""
        if self.is_worker or self.fatal:
            return
        asked = [(each.audit.run, each.config.track) for each in self._begun if each.audit.run and each.config.track]
        if asked:
            from dmun_audit.tracking.trackers import tracking_line

            self._summary += [tracking_line(run, tracker) for run, tracker in asked]

    def _conclude(self, session: pytest.Session, exit_status: int) -> int:
        """Conclude the audits that began, unless they cannot continue. Returns the exit code."""
        interrupted = exit_status in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
        if self.is_worker or not self._begun:
            return exit_status
        if self.fatal:
            self._summary = ["", *("ERROR: " + self.fatal).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        stopped = str(session.shouldstop or session.shouldfail or (self.stopped_by or "interrupted" if interrupted else ""))
        from dmun_audit.pytest_plugin.target_tests import audits_of_test
        from dmun_audit.verdict.vocabulary import AuditVerdict

        left = self._node_ids - self._finished if stopped else set()
        unfinished = [each for node in left for each in audits_of_test(self.tests, node)] if self.tests[1:] else self.tests
        try:
            for each in self._begun:  # with several audits, those that finished before the stop are complete
                if not each.lost:
                    each.conclude(stopped if each in unfinished else "")
            verdict = self._close()
        except UsageError as error:
            self._summary = ["", *("ERROR: " + str(error)).splitlines()]
            return int(pytest.ExitCode.USAGE_ERROR)
        stopped_by_user = interrupted and not stopped.startswith(AFTER_FAILURES)
        passed = verdict == AuditVerdict.PASS
        if self._summary and any(each.audit.stands for each in self._begun):
            self._summary.append(STANDS)
        if stopped_by_user and self._summary:
            self._summary.append(KEPT)
        if stopped_by_user or (passed and exit_status != pytest.ExitCode.OK):
            return exit_status  # pytest's exit code, for instance for failing tests outside of the audit
        if stopped and self._summary:
            self._summary.append(KEPT_WITHOUT_X if stopped.startswith(AFTER_FAILURES) else KEPT)
        return verdict.exit_code

    def _close(self) -> AuditVerdict:
        """Report the pooled claims, and make the summary. Returns the verdict over all audits."""
        from dmun_audit.pytest_plugin.target_tests import ended

        reports = [report for each in self._begun for report in self._pooled_reports(each)]
        if self._campaign:
            from dmun_audit.pytest_plugin.campaign_tests import conclude_campaign, lost_reports

            reports += lost_reports(self._campaign, self._begun[0].file_of("controls"))
            record, self._summary = conclude_campaign(self._campaign, self.tests)
            verdict = record.verdict
        else:
            from dmun_audit.pytest_plugin.target_tests import closing_lines, verdict_over

            self._summary, verdict = closing_lines(self.tests), verdict_over(self.tests)
        for report in reports:
            self.config.hook.pytest_runtest_logreport(report=report)
            self.config.hook.pytest_runtest_logreport(report=ended(report))
        return verdict

    def _pooled_reports(self, tests: TargetTests) -> list[pytest.TestReport]:
        """Test reports of an audit's pooled claims, with their pairs for reports of other tools."""
        from dmun_audit.pytest_plugin import shown_cases

        reports, others = tests.pooled_reports(), tests.audit.run.cases if tests.audit.run else ()
        for report, record in zip(reports, tests.audit.pooled, strict=True):
            if shown_cases.has_html_report(self.config) and report.failed:
                shown_cases.add_to_html_row(report, tests.config, record, others)
            if shown_cases.has_allure_report(self.config):
                shown_cases.add_to_allure(self.config, report, tests.config, record, others)
        if tests.audit.run and shown_cases.has_allure_report(self.config):
            shown_cases.add_verdict_to_allure(self.config, tests.file_of("controls"), tests.audit.run)
        return reports

    def html_summary(self) -> list[str]:
        """The verdicts for the head of pytest-html's page, as pieces of HTML."""
        runs = [each.audit.run for each in self.tests if each.audit.run]
        if not runs:
            return []
        from dmun_audit.pytest_plugin.shown_cases import html_summary

        return html_summary(runs)

    def show(self, tests: TargetTests, record: CaseRecord) -> None:
        """Show a failed or undecided case in the results of allure-pytest, if it is active. It reads them from the running test."""
        from dmun_audit.pytest_plugin.shown_cases import attach_to_allure, has_allure_report

        if record.verdict.is_failure and has_allure_report(self.config):
            attach_to_allure(tests.config, record)

    def summary(self) -> list[str]:
        """Lines for the end of the run."""
        return self._summary
