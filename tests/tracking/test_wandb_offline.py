"""Audits in offline runs of Weights & Biases. The command runs in processes of its own: wandb reads its variables once."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import processes
import pytest
from wandb_log import records_of

from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.tracking.logged_audit import logged_audit
from dmun_audit.tracking.wandb_tracker import MARK

pytest.importorskip("wandb")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def audited(example, tmp_path):
    """A run folder of an earlier format, which has no SHA256SUMS."""
    copy = tmp_path / "van-gogh"
    shutil.copytree(example, copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | {"format": 2}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.fixture
def log(tmp_path):
    """Runs `dmun-audit track … --to=wandb` with everything that wandb writes under one folder."""
    folders = {f"WANDB_{name}_DIR": str(tmp_path / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments, **more):
        command = [sys.executable, "-m", "dmun_audit.cli", "track", *map(str, arguments), "--to=wandb"]
        return processes.run(command, cwd=tmp_path, env=clean | folders | home | more, timeout=120)

    return run


def test_an_offline_run_holds_what_the_audit_holds_and_nothing_of_this_machine(audited, log, tmp_path):
    done = log(audited, "--project=erasers", WANDB_MODE="offline")
    audit = logged_audit(checked_run(audited))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder,) = tmp_path.glob(f"wandb/offline-run-*-{audit.identity}")
    assert done.stdout == f"{audited}: logged to Weights & Biases: run {audit.identity} of erasers, {folder}\n"
    records = list(records_of(folder / f"run-{audit.identity}.wandb"))
    started = next(record.run for record in records if record.HasField("run"))
    assert (started.run_id, started.project, started.display_name) == (audit.identity, "erasers", audit.name)
    assert list(started.tags) == ["FAIL", "Van Gogh"]
    assert started.notes == audit.description
    config = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for record in records
        if record.HasField("config")
        for item in record.config.update
    }
    assert {name: value for name, value in config.items() if name in audit.parameters} == dict(audit.parameters)
    summary = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for record in records
        if record.HasField("summary")
        for item in record.summary.update
    }
    assert {name: summary[name] for name in audit.metrics} == pytest.approx(dict(audit.metrics))
    assert {name: summary[name] for name in audit.tags} == dict(audit.tags)
    sent = [record.request.log_artifact.artifact for record in records if record.HasField("request")]
    sent += [record.artifact for record in records if record.HasField("artifact")]
    (artifact,) = [each for each in sent if each.type == "audit"]
    assert {entry.path for entry in artifact.manifest.contents} == {"manifest.json", "evidence.jsonl"}
    assert [path.name for path in (folder / "files").rglob("*") if path.is_file()] == []  # no list of packages, no hardware


def test_the_same_folder_twice_is_one_offline_run(audited, log, tmp_path):
    first, second = (log(audited, WANDB_MODE="offline") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert "logged to Weights & Biases" in first.stdout
    assert second.stdout == first.stdout.replace("logged to", "already in")
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_an_offline_run_of_other_evidence_or_one_that_was_cut_off_is_logged_again(audited, log, tmp_path):
    log(audited, WANDB_MODE="offline")
    for change in (lambda mark: mark.write_text("0" * 32), lambda mark: mark.unlink()):
        before = set(tmp_path.glob("wandb/offline-run-*"))
        for mark in tmp_path.glob(f"wandb/offline-run-*/{MARK}"):
            change(mark)
        time.sleep(1.1)  # the tool names the folder by the second
        again = log(audited, WANDB_MODE="offline")
        assert "logged to Weights & Biases" in again.stdout
        assert len(set(tmp_path.glob("wandb/offline-run-*")) - before) == 1


def test_a_tracker_that_logs_nothing_is_said(audited, log, tmp_path):
    done = log(audited, WANDB_MODE="disabled")
    assert done.returncode == 4
    assert "WANDB_MODE is disabled" in done.stderr


def test_without_a_key_nobody_is_asked_for_one(audited, log, tmp_path):
    done = log(audited)
    assert done.returncode == 4
    assert "ERROR: Weights & Biases has no API key" in done.stderr
    assert list(tmp_path.glob("wandb/*run-*")) == []
