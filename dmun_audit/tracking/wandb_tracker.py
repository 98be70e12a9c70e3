"""Logs an audit to Weights & Biases through its package. WANDB_API_KEY, WANDB_MODE and its other variables say where and as whom."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.tracking.logged_audit import LoggedAudit
from dmun_audit.tracking.names import WANDB
from dmun_audit.tracking.tracked_run import PROJECT, TrackedRun

LONGEST_TAG = 64  # characters that the tool takes
LONGEST_NOTE = 5_000  # characters
EVIDENCE = "evidence"
MARK = "dmun-audit-evidence"
"""A file in the folder of an offline run: the digest of the evidence that it holds. It is written when everything is logged."""


def send_to_wandb(audit: LoggedAudit, files: Path, project: str | None) -> TrackedRun:
    """Log the audit as a run of `project`, with everything in the folder `files` as one artifact.

    The run's id follows from the audit, so that the server has one run of it however often it is logged. In offline mode, nothing is
    logged if the folder of offline runs holds one of this id with the same evidence. Nothing of this machine is logged: no console output, code, git state,
    hardware or list of packages. Raises UsageError without credentials, and what the tool raises.
    """
    import wandb

    name = project or os.environ.get("WANDB_PROJECT") or PROJECT
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in {"disabled", "dryrun"}:
        raise UsageError(f"WANDB_MODE is {mode}", "Weights & Biases would log nothing, or keep it apart", "set online or offline")
    if mode == "offline":
        if earlier := _offline_run(Path(wandb.setup().settings.wandb_dir), audit):
            return TrackedRun(WANDB, name, audit.identity, str(earlier), "there already")
    elif not wandb.login(prompt=False, verify=False):  # a run would ask for a key in the terminal
        raise UsageError("Weights & Biases has no API key", "", "set WANDB_API_KEY, or WANDB_MODE=offline, or run `wandb login`")
    run = wandb.init(
        project=name,
        id=audit.identity,
        resume="allow",
        reinit="create_new",  # a run that the user has open stays open
        name=audit.name,
        job_type="audit",
        notes=audit.description[:LONGEST_NOTE],
        tags=_tags(audit),
        settings=settings,
    )
    resumed = bool(run.resumed) and mode != "offline"
    try:
        if resumed and run.config.get(EVIDENCE) == audit.evidence:
            return TrackedRun(WANDB, name, audit.identity, _place(run, mode), "there already")
        run.config.update(dict(audit.parameters), allow_val_change=True)
        run.summary.update({**audit.metrics, **audit.tags})
        artifact = wandb.Artifact(f"audit-{audit.identity}", type="audit")
        artifact.add_dir(str(files))
        run.log_artifact(artifact)
        run.config.update({EVIDENCE: audit.evidence}, allow_val_change=True)  # last: a run without it is logged again
        if mode == "offline":
            (Path(run.dir).parent / MARK).write_text(audit.evidence, encoding="ascii")
        return TrackedRun(WANDB, name, audit.identity, _place(run, mode), "updated" if resumed else "new")
    finally:
        run.finish()


def _tags(audit: LoggedAudit) -> list[str]:
    """The verdict, the target, and whether the audit is release evidence. Commas separate tags elsewhere, so they are left out."""
    said = [audit.tags["verdict"], audit.parameters.get("target", "")]
    said += ["release evidence"] if audit.tags["release_evidence"] == "yes" else []
    return [tag[:LONGEST_TAG] for text in said if (tag := re.sub(r"[\s,]+", " ", text).strip())]


def _offline_run(folder: Path, audit: LoggedAudit) -> Path | None:
    """The folder of an offline run that holds this audit as it is now; None if there is none."""
    marks = sorted(folder.glob(f"offline-run-*-{audit.identity}/{MARK}"))
    return next((mark.parent for mark in marks if mark.read_text(encoding="ascii") == audit.evidence), None)


def _place(run: Any, mode: str) -> str:
    """The page of the run, or its folder in offline mode."""
    return str(Path(run.dir).parent) if mode == "offline" else str(run.url)
