"""Failed and undecided cases in the reports of pytest-html and allure-pytest: their pairs of images and their text.

Nothing of either plugin is imported unless its option is given. A report of another tool changes no test: what goes wrong is logged.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.store.images import ImageStore

if TYPE_CHECKING:
    from dmun_audit.config.audit_config import AuditConfig
    from dmun_audit.evidence.run import Run
    from dmun_audit.report.pairs import Pair

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{64}")


def has_html_report(config: pytest.Config) -> bool:
    """Whether pytest-html writes a report (`--html=FILE`)."""
    return bool(config.getoption("htmlpath", None))


def has_allure_report(config: pytest.Config) -> bool:
    """Whether allure-pytest writes results (`--alluredir=DIR`)."""
    return bool(config.getoption("allure_report_dir", None)) and config.pluginmanager.has_plugin("allure_listener")


def add_to_html_row(report: pytest.TestReport, audit: AuditConfig, record: CaseRecord, others: Sequence[CaseRecord] = ()) -> None:
    """Give a report that pytest-html shows the pairs of its case. `others` are the single cases of the audit, for a claim over a group."""

    def add() -> None:
        from pytest_html import extras

        from dmun_audit.report.exports.pair_pictures import pairs_html

        if shown := pairs_html(_pairs(audit, record, others), _file_of(audit)):
            report.extras = [*getattr(report, "extras", []), extras.html(shown)]  # type: ignore[attr-defined]

    _harmless("pytest-html", add)


def html_summary(runs: Sequence[Run]) -> list[str]:
    """The verdicts for the head of pytest-html's page, as HTML: each with its reasons and the path of its report."""
    from dmun_audit.report.formatting import one_line
    from dmun_audit.report.waivers import headline

    pieces = []
    for run in runs:
        reasons = "".join(f"<li>{html.escape(one_line(reason))}</li>" for reason in run.reasons)
        title = html.escape(f"Audit of {one_line(run.manifest.target.name)}: {headline(run)}")
        path = html.escape(str(run.path / "report.html"))
        pieces.append(f"<div><p><strong>{title}</strong></p><ul>{reasons}</ul><p>Report: {path}</p></div>")
    return pieces


def attach_to_allure(audit: AuditConfig, record: CaseRecord) -> None:
    """Attach the text and the pairs of a case to the running test in Allure's results."""

    def attach() -> None:
        import allure

        for body, name, kind in _attachments(audit, record, ()):
            allure.attach(body, name=name, attachment_type=kind)

    _harmless("allure-pytest", attach)


def add_to_allure(
    config: pytest.Config, report: pytest.TestReport, audit: AuditConfig, record: CaseRecord, others: Sequence[CaseRecord]
) -> None:
    """Write an Allure result for a claim over a group: no function runs it, so allure-pytest does not see it."""

    def add() -> None:
        attachments = _attachments(audit, record, others) if report.failed else []
        _write_result(config, report.nodeid, str(report.outcome), report.longreprtext, attachments)

    _harmless("allure-pytest", add)


def add_verdict_to_allure(config: pytest.Config, file: str, run: Run) -> None:
    """Write an Allure result for the verdict: an audit that is not PASS fails there too if no test failed."""

    def add() -> None:
        from dmun_audit.report.formatting import one_line
        from dmun_audit.report.waivers import headline
        from dmun_audit.verdict.vocabulary import AuditVerdict

        outcome = "passed" if run.verdict == AuditVerdict.PASS else "failed"
        text = "\n".join([headline(run), *map(one_line, run.reasons)])
        _write_result(config, f"{file}::verdict[{one_line(run.path.name)}]", outcome, text, [])

    _harmless("allure-pytest", add)


Attachment = tuple[bytes | str, str, Any]
"""Content, name and type of an attachment."""


def _attachments(audit: AuditConfig, record: CaseRecord, others: Sequence[CaseRecord]) -> list[Attachment]:
    from allure_commons.types import AttachmentType

    from dmun_audit.report.exports.pair_pictures import pair_pictures
    from dmun_audit.report.text import failure_text

    pictures = pair_pictures(_pairs(audit, record, others), _file_of(audit))
    texts: list[Attachment] = [(failure_text(record), "Audit", AttachmentType.TEXT)]
    return texts + [(each.png, each.name, AttachmentType.PNG) for each in pictures]


def _write_result(config: pytest.Config, node_id: str, outcome: str, text: str, attachments: Sequence[Attachment]) -> None:
    """Write one result with allure-pytest's own reporter, in the suite of its file."""
    from allure_commons.model2 import Label, StatusDetails, TestResult
    from allure_commons.types import LabelType
    from allure_commons.utils import md5, now, uuid4

    file, _, name = node_id.partition("::")
    folder, _, module = file.removesuffix(".py").rpartition("/")
    labels = [(LabelType.PARENT_SUITE, folder.replace("/", ".")), (LabelType.SUITE, module), (LabelType.FRAMEWORK, "pytest")]
    result = TestResult(
        uuid=uuid4(),
        name=name,
        fullName=node_id,
        historyId=md5(node_id),
        testCaseId=md5(node_id),
        status=outcome,
        start=now(),
        stop=now(),
        labels=[Label(name=kind, value=value) for kind, value in labels if value],
    )
    if text:
        result.statusDetails = StatusDetails(message=text.strip().splitlines()[0], trace=text)
    listener: Any = config.pluginmanager.get_plugin("allure_listener")
    reporter = listener.allure_logger
    reporter.schedule_test(result.uuid, result)
    for body, title, kind in attachments:
        reporter.attach_data(uuid4(), body, name=title, attachment_type=kind, parent_uuid=result.uuid)
    reporter.close_test(result.uuid)


def _pairs(audit: AuditConfig, record: CaseRecord, others: Sequence[CaseRecord]) -> list[Pair]:
    """The pairs to show: none of an unsafe target, and none with --no-images."""
    from dmun_audit.report.exports.pair_pictures import shown_pairs_of

    return [] if audit.no_images or audit.dossier.target.kind == "unsafe" else shown_pairs_of(record, others)


def _file_of(audit: AuditConfig) -> Callable[[str], Path | None]:
    store = ImageStore(audit.store_folder)
    return lambda key: store.path(key) if _KEY.fullmatch(key) else None


def _harmless(plugin: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # whatever the other plugin raises
        logger.warning("the report of %s lacks a case: %s: %s", plugin, type(error).__name__, error)
