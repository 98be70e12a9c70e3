"""The trackers by name, and what is said once an audit was logged or could not be."""

from __future__ import annotations

import importlib.util
import io
import re
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import one_line
from dmun_audit.tracking.logged_audit import LoggedAudit, collect_files, logged_audit

MLFLOW, WANDB = "mlflow", "wandb"
TRACKERS = {MLFLOW: "MLflow", WANDB: "Weights & Biases"}
"""What --to and --track take, with the names of the tools."""

PROJECT = "dmun_audit"
"""The experiment or project, if neither the user nor an environment variable of the tool names one."""

_REMEDIES = {
    MLFLOW: "set MLFLOW_TRACKING_URI to the address of your MLflow server, and repeat: no audit is logged twice",
    WANDB: "check the network and WANDB_API_KEY, or set WANDB_MODE=offline, and repeat: no audit is logged twice",
}

LONGEST_REASON = 300  # characters
_USER = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True)
class TrackedRun:
    """An audit in a tracker.

    Attributes:
        tracker: `mlflow` or `wandb`.
        project: The experiment (MLflow) or the project (Weights & Biases).
        run_id: The tracker's id of the run.
        place: The tracking server or the folder of the run.
        status: `new`; `updated`, if the tracker had an earlier state of the same audit; `there already`, if nothing had to be logged.
    """

    tracker: str
    project: str
    run_id: str
    place: str
    status: Literal["new", "updated", "there already"]

    def __str__(self) -> str:
        """One sentence: what happened, and where the run is."""
        did = {"new": "logged to", "updated": "updated in", "there already": "already in"}[self.status]
        return f"{did} {TRACKERS[self.tracker]}: run {self.run_id} of {one_line(self.project)}, {without_user(self.place)}"


def track(run: Run, tracker: str, project: str | None = None, *, images: bool = False) -> TrackedRun:
    """Log a finished audit to a tracker, or find that it is there already.

    The tool's own environment variables say where it is and who the user is. Raises UsageError for an audit without a verdict, for a
    tracker that is unknown or not installed, and where the tracker fails.
    """
    check_tracker(tracker, "--to")
    if project is not None and not project.strip():
        raise UsageError("--project is empty", "perhaps a variable is not set", "give it a value, or omit the option")
    audit = logged_audit(run)
    with tempfile.TemporaryDirectory(prefix="dmun-audit-") as folder:
        files = Path(folder)
        collect_files(run, files, images=images)
        said = io.StringIO()  # both tools announce their runs in the terminal
        try:
            with redirect_stdout(said), redirect_stderr(said):
                return _log(audit, files, tracker, project)
        except UsageError:
            raise
        except Exception as error:  # whatever a tool and its server raise
            why = without_user(one_line(f"{type(error).__name__}: {error}"))[:LONGEST_REASON]
            raise UsageError(f"{TRACKERS[tracker]} did not take {run.path}", why, _REMEDIES[tracker]) from None


def _log(audit: LoggedAudit, files: Path, tracker: str, project: str | None) -> TrackedRun:
    if tracker == MLFLOW:
        from dmun_audit.tracking.mlflow_tracker import send_to_mlflow

        return send_to_mlflow(audit, files, project)
    from dmun_audit.tracking.wandb_tracker import send_to_wandb

    return send_to_wandb(audit, files, project)


def check_tracker(tracker: str, option: str) -> None:
    """Raise UsageError for a tracker that is unknown or not installed. Imports nothing."""
    if tracker not in TRACKERS:
        raise UsageError(f"{option}={tracker} is no tracker", "", f"write {' or '.join(TRACKERS)}")
    if importlib.util.find_spec(tracker) is None:
        raise UsageError(
            f"{option}={tracker} needs {tracker}, which is not installed", "", f"pip install 'dmun_audit[{tracker}]'"
        )


def tracking_line(run: Run, tracker: str) -> str:
    """Log an audit that has just ended. Returns one line on how it went. No failure of the tracker leaves this function."""
    try:
        return f"tracking: {track(run, tracker)}"
    except UsageError as error:
        return f"warning: the audit was not logged. {error.in_a_line}"
    except KeyboardInterrupt:
        return f"warning: the audit was not logged. The logging was interrupted; `dmun-audit track {run.path} --to={tracker}` does it again"


def without_user(text: str) -> str:
    """`text` without the user and the password that stand in a URL."""
    return _USER.sub("//", text)
