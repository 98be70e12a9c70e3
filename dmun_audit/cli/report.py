"""`dmun-audit report`: rebuilds the reports of a run folder from its evidence, with no model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("report", help="rebuild report.html and junit.xml of a run folder, with no model")
    parser.add_argument("folder", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Read evidence and manifest, write both reports, print the summary."""
    from dmun_audit.evidence.run import read_run
    from dmun_audit.report.files import write_reports
    from dmun_audit.report.text import summary_lines

    found = read_run(asked.folder)
    write_reports(found)
    print("\n".join(summary_lines(found)))
    return int(found.altered)  # evidence that is not what the verdict was drawn from stops whoever relies on it
