"""Logs an audit to the tracker that the user names, and says how it went."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import one_line
from dmun_audit.tracking.logged_audit import LoggedAudit, collect_files, logged_audit
from dmun_audit.tracking.names import MLFLOW, TRACKERS, check_tracker
from dmun_audit.tracking.tracked_run import TrackedRun, without_user

WANDB_REMEDY = "check the network and WANDB_API_KEY, or set WANDB_MODE=offline, and repeat: no audit is logged twice"

LONGEST_REASON = 1_000
"""Characters of what a tool says. The tools end their messages with their advice, so nothing short is cut."""


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
            why, remedy = _explained(error, tracker)
            raise UsageError(f"{TRACKERS[tracker]} did not take {run.path}", why, remedy) from None


def _log(audit: LoggedAudit, files: Path, tracker: str, project: str | None) -> TrackedRun:
    if tracker == MLFLOW:
        from dmun_audit.tracking.mlflow_tracker import send_to_mlflow

        return send_to_mlflow(audit, files, project)
    from dmun_audit.tracking.wandb_tracker import send_to_wandb

    return send_to_wandb(audit, files, project)


def _explained(error: Exception, tracker: str) -> tuple[str, str]:
    """Why a tool did not take an audit, in one line without passwords, and what to do."""
    if tracker == MLFLOW:
        from dmun_audit.tracking.mlflow_errors import explained

        said, remedy = explained(error)
    else:
        said, remedy = f"{type(error).__name__}: {error}", WANDB_REMEDY
    why = without_user(one_line(said))
    return why if len(why) <= LONGEST_REASON else f"{why[: LONGEST_REASON - 1]}…", remedy


def tracking_line(run: Run, tracker: str) -> str:
    """Log an audit that has just ended. Returns one line on how it went. No failure of the tracker leaves this function."""
    try:
        return f"tracking: {track(run, tracker)}"
    except UsageError as error:
        advice = f". To log it, {error.remedy}" if error.remedy else ""
        return one_line(f"warning: the audit was not logged. {error.in_a_line}{advice}")
    except (Exception, SystemExit) as error:  # a full disk, or a tool that ends the process
        return one_line(without_user(f"warning: the audit was not logged. {type(error).__name__}: {error}"))
    except KeyboardInterrupt:
        return f"warning: the audit was not logged. The logging was interrupted; `dmun-audit track {run.path} --to={tracker}` does it again"
