"""`dmun-audit report`: rebuilds the reports of a run folder from its evidence. Needs no model."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmun_audit.evidence.run import Run


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("report", help="rebuild report.html and junit.xml of a run folder; needs no model")
    parser.add_argument("folder", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--no-images", action="store_true", help="leave pictures out of report.html; the run folder keeps them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Derive the verdict again, write both reports, print the summary. Returns the exit code of the verdict.

    A folder that was signed, or whose files contradict the verdict, stays as it is: what was found must not change.
    """
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.evidence.checksums import update_checksums
    from dmun_audit.evidence.run_lock import writing
    from dmun_audit.report.attestation import statement
    from dmun_audit.report.files import FILES, write_reports
    from dmun_audit.report.text import summary_lines

    audit_run = checked_run(arguments.folder)
    kept = _why_kept(audit_run)
    if not kept:
        with writing(audit_run.path):
            write_reports(replace(audit_run, pictures=audit_run.pictures and not arguments.no_images))
            update_checksums(audit_run.path, FILES, partial(statement, audit_run.manifest, audit_run.cases))
    print("\n".join(summary_lines(audit_run)))
    if kept:
        print(f"The files of this run {kept}: nothing in the folder was written.")
    return audit_run.verdict.exit_code


def _why_kept(audit_run: Run) -> str:
    """Why the folder must stay as it is; empty if the reports may be written again."""
    from dmun_audit.evidence.checksums import SIGNATURE

    if audit_run.altered:
        return "contradict its verdict"
    if (audit_run.path / SIGNATURE).exists():
        return "are signed"
    return "" if os.access(audit_run.path, os.W_OK) else "cannot be written"
