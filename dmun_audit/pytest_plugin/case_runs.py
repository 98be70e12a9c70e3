"""Runs the cases of a session's audits in one process, and keeps what the running test did for its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.garbage import never_collected
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.case import Case
from dmun_audit.pytest_plugin.discovery import case_of
from dmun_audit.pytest_plugin.log_file import LogFile, open_log
from dmun_audit.pytest_plugin.outcomes import RunningTest
from dmun_audit.pytest_plugin.target_tests import TargetTests
from dmun_audit.runtime.libraries import import_libraries
from dmun_audit.runtime.target_audit import folder_of_run

if TYPE_CHECKING:
    from dmun_audit.runtime.candidates import Candidates


class CaseRuns:
    """The cases that this process runs. `worker` is its name, and `log_level` pytest's --log-level.

    Attributes:
        fatal: Why no audit can continue; empty if they can.
    """

    def __init__(
        self, tests: Sequence[TargetTests], worker: str, log_level: str | None, on_rendered: Callable[[int], None]
    ) -> None:
        self.fatal = ""
        self._tests = tests
        self._worker = worker
        self._log_level = log_level
        self._log: LogFile | None = None
        self._running = RunningTest()
        self._on_rendered = on_rendered

    @cached_property
    def _candidates(self) -> Candidates:
        with never_collected():
            import_libraries()
            from dmun_audit.runtime.candidates import Candidates

        return Candidates([each.audit for each in self._tests], self._on_rendered)

    def tests_of(self, case: Case) -> TargetTests:
        """The audit to which a case belongs."""
        for each in self._tests:
            if (each.config.prefix, each.config.dossier.target.name) == (case.audit, case.target):
                return each
        pytest.fail(f"{case.id} is no case of this audit: check a case that a fixture gives", pytrace=False)

    def run(self, tests: TargetTests, case: Case) -> CaseRecord:
        """Run one case and keep its record for the report of the running test."""
        if self.fatal:
            pytest.skip("the audit cannot continue")
        if tests.lost:
            pytest.skip(f"{tests.config.candidate} cannot be audited")
        record, error = None, ""
        try:
            self._open_log(tests)
            self._candidates.load_base()
            record = self._candidates.check(tests.audit, case, self._worker)
        except UsageError as usage_error:
            error = str(usage_error)
            self._give_up(tests, usage_error)
        except BaseException:
            self._running.broken = True  # an error of the audit or a timeout, not a finding: the case gets no record
            raise
        if record is not None:
            self._running.keep(self._tests.index(tests), record)
            error = self.fatal = self._log.failure if self._log else ""
        if record is None or error:  # outside of the except block, so that pytest shows the error only once
            pytest.fail(error, pytrace=False)
        if record.case_id != case.id:
            pytest.skip("a control is refuted, so nothing more is drawn (--keep-going draws all the same)")
        return record

    def _give_up(self, tests: TargetTests, error: UsageError) -> None:
        """Note that an audit cannot continue: with it the audits of its model, or all of them.

        An error of the store or of the base concerns all audits, and so does every error in a session that is no campaign.
        """
        if isinstance(error, StoreError) or not tests.config.model_name or not self._candidates.has_base:
            self.fatal = str(error)
            return
        for each in self._tests:
            if each.config.candidate == tests.config.candidate:
                each.lost = str(error)
        self._candidates.close_candidate()

    def attach(self, item: pytest.Item, report: pytest.TestReport, error: pytest.ExceptionInfo[BaseException] | None) -> None:
        """Attach the evidence of a test to its report, and how the test ended. `error` ended the phase of the report."""
        facts, lost = [each.audit.facts for each in self._tests], [each.lost for each in self._tests]
        self._running.attach(report, error, of_case=any(case_of(item)), facts=facts, lost=lost, fatal=self.fatal)

    def _open_log(self, tests: TargetTests) -> None:
        """Begin the log of this process in the run folder of the first audit that runs, if pytest's --log-level asks for one."""
        if self._log_level and self._log is None:
            folder = tests.audit.folder.path if tests.audit.folder else folder_of_run(tests.config)
            self._log = open_log(folder, self._worker, self._log_level)

    def end_log(self) -> None:
        """End the log. `fatal` then says if a message could not be written."""
        failure = self._log.end() if self._log else ""
        self.fatal = self.fatal or failure

    def close(self) -> None:
        """Let go of the models, and of a cluster that renders."""
        if "_candidates" in vars(self):  # some were asked for
            self._candidates.close()
