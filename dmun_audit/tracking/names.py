"""The names of the trackers. Loads nothing else, so that the command line and the options stay quick."""

from __future__ import annotations

import importlib.util

from dmun_audit._util.errors import UsageError

MLFLOW, WANDB = "mlflow", "wandb"
TRACKERS = {MLFLOW: "MLflow", WANDB: "Weights & Biases"}
"""What --to and --track take, with the names of the tools."""


def check_tracker(tracker: str, option: str) -> None:
    """Raise UsageError for a tracker that is unknown or not installed. Imports nothing of it."""
    if tracker not in TRACKERS:
        raise UsageError(f"{option}={tracker} is no tracker", "", f"write {' or '.join(TRACKERS)}")
    if importlib.util.find_spec(tracker) is None:
        raise UsageError(
            f"{option}={tracker} needs {tracker}, which is not installed", "", f"pip install 'dmun_audit[{tracker}]'"
        )
