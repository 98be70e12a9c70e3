"""`dmun-audit summary`: a finished audit as Markdown for a CI server's page. Needs no model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("summary", help="print a run as Markdown, for $GITHUB_STEP_SUMMARY or a comment; needs no model")
    parser.add_argument("folder", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--annotations",
        action="store_true",
        help="print at most ten annotations for GitHub Actions instead: the verdict and what failed",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it. Returns 0: a summary gates nothing."""
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.report.exports.summary import github_annotations, summary_markdown

    audit_run = checked_run(arguments.folder)
    if arguments.annotations:
        # These lines are commands on purpose. Their texts are escaped, so the guard of the standard output must not change them.
        (sys.__stdout__ or sys.stdout).write("".join(f"{line}\n" for line in github_annotations(audit_run)))
    else:
        print(summary_markdown(audit_run), end="")
    return 0
