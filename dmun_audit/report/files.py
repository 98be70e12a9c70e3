"""The report files of a run folder."""

from __future__ import annotations

from dmun_audit.evidence.run import Run
from dmun_audit.report.html import write_html
from dmun_audit.report.junit import write_junit

FILES = ("junit.xml", "report.html")


def write_reports(run: Run) -> None:
    """Write junit.xml and report.html beside the evidence, each whole or not at all. Raises StoreError if that fails.

    The page has no pictures if `run.pictures` is false.
    """
    write_junit(run, run.path / FILES[0])
    write_html(run, run.path / FILES[1])
