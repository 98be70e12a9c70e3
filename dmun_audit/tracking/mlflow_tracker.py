"""Logs an audit to MLflow through its client. MLFLOW_TRACKING_URI and MLflow's other variables say where and as whom."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmun_audit.tracking.logged_audit import LoggedAudit
from dmun_audit.tracking.names import MLFLOW
from dmun_audit.tracking.tracked_run import PROJECT, TrackedRun

IDENTITY, EVIDENCE = "dmun_audit.identity", "dmun_audit.evidence"
NOTE = "mlflow.note.content"
"""The tag whose text MLflow shows as the description of a run."""

RETRIES, TRIES_AGAIN = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"

LONGEST_NOTE = 5_000  # characters; MLflow keeps 8,000 of a tag


def send_to_mlflow(audit: LoggedAudit, files: Path, project: str | None) -> TrackedRun:
    """Log the audit as a run of the experiment `project`, with everything in the folder `files` as artifacts.

    A run with the same identity is found by its tag. With the same evidence nothing is logged; with other evidence this run gets the new
    metrics, tags and artifacts. Raises what MLflow raises.
    """
    with _patience():
        return _sent(audit, files, project)


def _sent(audit: LoggedAudit, files: Path, project: str | None) -> TrackedRun:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    name = project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
    experiment = _experiment(client, name)
    earlier = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{audit.identity}'", max_results=1)
    if earlier and earlier[0].data.tags.get(EVIDENCE) == audit.evidence:
        return TrackedRun(MLFLOW, name, earlier[0].info.run_id, client.tracking_uri, "there already")
    run = earlier[0] if earlier else client.create_run(experiment, tags={IDENTITY: audit.identity}, run_name=audit.name)
    _log(client, run.info.run_id, audit, files, run.data.params)
    return TrackedRun(MLFLOW, name, run.info.run_id, client.tracking_uri, "updated" if earlier else "new")


@contextmanager
def _patience() -> Generator[None]:
    """Let MLflow try a request a few times only, unless the user says how often. By itself it tries for four minutes."""
    if RETRIES in os.environ:
        yield
        return
    os.environ[RETRIES] = TRIES_AGAIN
    try:
        yield
    finally:
        os.environ.pop(RETRIES, None)


def _experiment(client: Any, name: str) -> str:
    """The id of the experiment, which is made if there is none."""
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _log(client: Any, run_id: str, audit: LoggedAudit, files: Path, known: Mapping[str, str]) -> None:
    """Log everything. The tag with the evidence comes last: a run without it is not complete, and the next logging completes it."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(1000 * time.time())
    tags = {f"dmun_audit.{name}": value for name, value in audit.tags.items()} | {NOTE: audit.description[:LONGEST_NOTE]}
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in audit.metrics.items()])
    # MLflow never changes a parameter.
    new = [Param(name, value) for name, value in audit.parameters.items() if name not in known]
    client.log_batch(run_id, params=new)
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    client.log_artifacts(run_id, str(files))
    client.set_tag(run_id, EVIDENCE, audit.evidence)
    client.set_terminated(run_id, "FINISHED")
