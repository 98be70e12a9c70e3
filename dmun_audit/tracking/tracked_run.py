"""Where an audit is in a tracker, as a user is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dmun_audit.report.formatting import one_line
from dmun_audit.tracking.names import TRACKERS

PROJECT = "dmun_audit"
"""The experiment or project, if neither the user nor an environment variable of the tool names one."""

_USER = re.compile(r"//\S*@")
_QUERY = re.compile(r"(//[^\s?]*)\?\S*")


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


def without_user(text: str) -> str:
    """`text` without the user, the password and the query of the URLs in it."""
    return _QUERY.sub(r"\1", _USER.sub("//", text))
