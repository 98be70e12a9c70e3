"""The tests of one audit in a session: their node ids and their reports."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import pytest

from dmun_audit.campaigns.records import overall_verdict
from dmun_audit.claim_groups.expected import expected_of
from dmun_audit.claim_groups.planning import image_budget, required_cases
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.describe import describe
from dmun_audit.config.targets import SEPARATOR
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.case import Case, ImageRequest
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.pytest_plugin.discovery import POOLED
from dmun_audit.pytest_plugin.outcomes import RESULT_ATTRIBUTE, Outcomes, result_text
from dmun_audit.pytest_plugin.progress import Left
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

Outcome = Literal["passed", "failed", "skipped"]


class TargetTests:
    """One audit and its tests. Workers run the tests; the controller writes the run folder and concludes."""

    def __init__(self, config: AuditConfig) -> None:
        self.config = config
        self.audit = TargetAudit(config)
        self.outcomes = Outcomes()
        self.lost = ""  # why its model cannot be loaded, if other models of the session can
        self._node_ids: dict[str, frozenset[str]] = {}  # selected tests, each with the ids of its cases

    # Tests and their cases.

    def parameter(self, case_id: str) -> str:
        """The name of a case in node ids: its id, with the prefix of the audit if the session has several."""
        return f"{self.config.prefix}{SEPARATOR}{case_id}" if self.config.prefix else case_id

    def cases(self, group: str) -> list[tuple[str, Case]]:
        """The single cases of a group, each with its name in node ids."""
        return [(self.parameter(case.id), case) for case in self._cases if case.group == group]

    @cached_property
    def _cases(self) -> list[Case]:
        return [replace(case, audit=self.config.prefix) for case in self.config.plan.cases if not case.pooled]

    def collected(self, node_ids: Iterable[str]) -> None:
        """Note the selected tests that run its cases."""
        cases = {node_id: self._cases_in(node_id) for node_id in node_ids}
        self._node_ids = {node_id: case_ids for node_id, case_ids in sorted(cases.items()) if case_ids}

    def share_work(self) -> None:
        """Let this worker draw images of all selected cases while it would wait for another worker."""
        selected = self._selected
        self.audit.shared_groups = tuple(dict.fromkeys(case.group for case in self._cases if case.id in selected))

    def _cases_in(self, node_id: str) -> frozenset[str]:
        """The ids of the cases that parametrise a test, from its node id: workers report nothing else.

        pytest joins the names of several parameters with hyphens: `[first-second]`. pytest-xdist may add the group of the test:
        `[first]@group`.
        """
        parameters = node_id.partition("::")[2].partition("[")[2].rpartition("]")[0]
        if parameters in self._by_parameter:
            return frozenset({self._by_parameter[parameters]})
        joined = f"-{parameters}-"
        return frozenset(case_id for name, case_id in self._by_parameter.items() if f"-{name}-" in joined)

    @cached_property
    def _by_parameter(self) -> dict[str, str]:
        return {self.parameter(case.id): case.id for case in self.config.plan.cases}

    @cached_property
    def folders(self) -> set[str]:
        """The folders of its test files. Other tests in these folders belong to the audit too."""
        return {folder_of(node_id) for node_id in self._node_ids}

    def has(self, node_id: str) -> bool:
        """Whether a test runs one of its cases."""
        return node_id in self._node_ids

    # The life of the audit, on the controller.

    def begin(self) -> None:
        """Open the run folder if any of its tests is selected. See `TargetAudit.begin` for errors."""
        if self._node_ids:
            self.audit.begin(whole=not self._deselected())

    def conclude(self, stopped: str) -> None:
        """Conclude the audit. `stopped` is the reason why some of its tests did not run; empty if all ran."""
        self.audit.conclude(self.outcomes.interruptions(self._deselected(), stopped))

    def _deselected(self) -> set[str]:
        return {case.id for case in required_cases(self.config.plan)} - self._selected

    @property
    def _selected(self) -> frozenset[str]:
        return frozenset().union(*self._node_ids.values())

    @property
    def undecided(self) -> list[Case]:
        """The selected cases that have no record yet."""
        selected = self._selected
        return [case for case in self._cases if case.id in selected and case.id not in self.audit.records]

    @property
    def place(self) -> str:
        """Model and target before a line of a session with several audits, such as "ESD, Van Gogh: "."""
        from dmun_audit.report.formatting import one_line

        return f"{', '.join(one_line(name) for name in (self.config.model_name, self.audit.name) if name)}: "

    def decided_claims(self, group: str) -> list[CaseRecord]:
        """The pooled claims of a group whose last selected case has just been decided; empty as long as one is undecided."""
        if any(case.group == group for case in self.undecided):
            return []
        return pooled_records(self.config.plan, self.audit.records, [group])

    # Reports.

    def failure(self, record: CaseRecord) -> str:
        """The text of a failing case, and the folder of its images."""
        from dmun_audit.report.text import failure_text

        return f"{failure_text(record)}\n  (images are in {self.config.run_folder})"

    def waiver(self, record: CaseRecord) -> str:
        """The text on the waiver of a case's failure; empty if it is not waived."""
        from dmun_audit.report.waivers import waiver_text

        return waiver_text(with_waivers(self.config.plan, [record], self.config.day)[0])

    def pooled_reports(self) -> list[pytest.TestReport]:
        """Test reports of the pooled claims, so that terminal and JUnit list them."""
        return [self._pooled_report(record, self.file_of(record.group)) for record in self.audit.pooled]

    def _pooled_report(self, record: CaseRecord, file: str) -> pytest.TestReport:
        waived = self.waiver(record)
        name = f"{POOLED}[{self.parameter(record.case_id)}]"
        failed = record.verdict.is_failure and not waived
        outcome: Outcome = "failed" if failed else "skipped" if waived else "passed"
        report = made_report(file, name, outcome, self.failure(record) if failed else (file, 0, waived) if waived else None)
        if waived:
            report.wasxfail = f"reason: {waived}"  # marks an expected failure for pytest
        if report.passed or (failed and record.verdict == Verdict.INCONCLUSIVE):
            setattr(report, RESULT_ATTRIBUTE, result_text(record))
        return report

    def file_of(self, group: str) -> str:
        """The test file that lists the pooled claims of a group: the first file with a case of the group."""
        ids = {case.id for case in self.config.plan.of_group(group)}
        files = [node_id.partition("::")[0] for node_id, case_ids in self._node_ids.items() if ids & case_ids]
        return files[0] if files else f"audits/test_{group}.py"


def made_report(file: str, name: str, outcome: Outcome, longrepr: str | tuple[str, int, str] | None) -> pytest.TestReport:
    """The report of a test that no function ran."""
    now = time.time()
    return pytest.TestReport(f"{file}::{name}", (file, None, name), {}, outcome, longrepr, "call", start=now, stop=now)


def ended(report: pytest.TestReport) -> pytest.TestReport:
    """The report of the end of a test that no function ran. Plugins such as pytest-html list a test once it has ended."""
    file, _, name = report.location
    end = made_report(file, name, "passed", None)
    end.when = "teardown"
    return end


def budget(tests: Sequence[TargetTests]) -> int:
    """The largest number of images that these audits can request. Audits share images, so the real number may be smaller."""
    return sum(image_budget(each.config.plan) for each in tests)


def images_left(tests: Sequence[TargetTests]) -> Left:
    """The images that the undecided cases of these audits can request. Audits share the base's images."""
    planned, later, expected = set[tuple[str, ImageRequest]](), 0, 0.0
    for each in tests:
        undecided, model, plan = each.undecided, each.config.candidate, each.config.plan
        planned |= {("" if image.side == "base" else model, image) for case in undecided for image in case.images}
        for name in {case.group for case in undecided}:
            group, cases = claim_group(name), plan.of_group(name)
            share = sum(case.group == name for case in undecided) / len(cases)
            later += group.later_images(plan)
            expected += expected_of(group, plan) * (
                int(share) if group.draws_in_rounds else share
            )  # the first case draws for all
    return Left(round(expected), len(planned) + later)


def audits_of_test(tests: Sequence[TargetTests], node_id: str) -> list[TargetTests]:
    """The audits to which a test belongs: the audit of its case, else all audits with tests in the same folder."""
    owners = [each for each in tests if each.has(node_id)]
    return owners or [each for each in tests if folder_of(node_id) in each.folders]


def verdict_over(tests: Sequence[TargetTests]) -> AuditVerdict:
    """The verdict over several targets. A target that did not run counts as PARTIAL."""
    return overall_verdict([each.audit.verdict or AuditVerdict.PARTIAL for each in tests])


def header_lines(tests: Sequence[TargetTests]) -> list[str]:
    """The header of a run, target by target."""
    lines = [line for each in tests for line in describe(each.config)]
    if len(tests) < 2:
        return lines
    return [*lines, f"dmun_audit: {len(tests)} targets, up to {budget(tests):,} images in all"]


def closing_lines(tests: Sequence[TargetTests]) -> list[str]:
    """The end of the terminal's output: the summary of each target; with several targets, also a line for each verdict."""
    from dmun_audit.report.formatting import one_line
    from dmun_audit.report.text import summary_lines
    from dmun_audit.report.waivers import headline

    runs = [(each.audit.name, each.audit.run) for each in tests]
    if len(tests) == 1:
        return summary_lines(runs[0][1]) if runs[0][1] else []
    names = [one_line(name) for name, _ in runs]
    lines = []
    for name, (_, run) in zip(names, runs, strict=True):
        if run:
            lines += ["", f"{name}:", *summary_lines(run)]
    waived = any(run and headline(run) != run.verdict for _, run in runs)
    verdict = verdict_over(tests)
    lines += ["", f"{len(tests)} targets: {verdict}{' with waivers' if waived else ''}"]
    width = max(map(len, names))
    for name, (_, run) in zip(names, runs, strict=True):
        ending = f"{headline(run):<12}  {run.path / 'report.html'}" if run else "not audited: none of its cases was selected"
        lines.append(f"  {name:<{width}}  {ending}")
    return lines


def folder_of(node_id: str) -> str:
    """The folder of a test's file."""
    return node_id.partition("::")[0].rpartition("/")[0]
