"""`dmun-audit track`: finished audits in an experiment tracker. Needs no model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    from dmun_audit.tracking.names import TRACKERS

    parser = commands.add_parser("track", help="log runs to MLflow or Weights & Biases, each once; needs no model")
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--to", required=True, choices=tuple(TRACKERS), help=f"the tracker: {' or '.join(TRACKERS)}")
    parser.add_argument(
        "--project",
        metavar="NAME",
        help="experiment of MLflow or project of Weights & Biases (default: MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT, else dmun_audit)",
    )
    parser.add_argument(
        "--images",
        action="store_true",
        help="log the images too, also those of a sensitive target (default: no images)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Log the runs and say where each is. Returns 0: the verdict is a tag. Raises UsageError at the first run that is not logged."""
    from dmun_audit._util.paths import expanded
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.report.formatting import one_line
    from dmun_audit.tracking.trackers import track

    runs = [checked_run(expanded(folder)) for folder in arguments.runs]  # before anything is logged
    for audit_run in runs:
        print(f"{one_line(audit_run.path)}: {track(audit_run, arguments.to, arguments.project, images=arguments.images)}")
    return 0
