"""`dmun-audit reproduce`: runs an audit again from its run folder, and says what differs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("reproduce", help="run an audit again from its run folder, and say what differs")
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--model", help="the candidate, if it lies elsewhere now; default: as in the run")
    parser.add_argument("--base", help="the base, if it lies elsewhere now; default: as in the run")
    parser.add_argument("--audit-dir", type=Path, help="the new run folder; default: RUN-reproduced")
    parser.add_argument(
        "--store",
        help="store of images; default: a new one beside the new run folder, so that every image is drawn anew",
    )
    parser.add_argument(
        "--allow-sensitive", action="store_true", help="audit an unsafe target; images of it are rendered and kept"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Audit again and compare. Returns 0 if verdict, records and images are the same, and else 1: what differs is printed."""
    from dmun_audit.report.formatting import one_line, report_verdict
    from dmun_audit.runtime.reproduction import reproduce

    difference = reproduce(
        arguments.folder,
        model=arguments.model,
        base=arguments.base,
        audit_dir=arguments.audit_dir,
        store=arguments.store,
        allow_sensitive=arguments.allow_sensitive,
        on_case=lambda record: print(f"  {report_verdict(record):<16} {one_line(record.title)}", flush=True),
    )
    print()
    for line in difference.lines():
        print(one_line(line))
    return 0 if difference.is_reproduced else 1
