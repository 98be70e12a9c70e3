"""Audits killed again and again at random moments: the evidence is that of an audit nobody killed, and no image is rendered twice."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import processes
import pytest
from coarse import coarse_policy

ROOT = processes.TESTS.parent
KILLS = 10
FIGURES = {
    "steps": 1, "batch": 4, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 1, "prompts": 4,
    "images": 8, "concepts": 4, "pairs": 2, "sensitivity_floor": 0.01, "false_positive_ceiling": 0.99,
}  # fmt: skip


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy of few images in small batches, so that an audit has many moments at which it can be killed."""
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FIGURES)


def _command(policy, folder, *options):
    words = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--keep-going", f"--policy={policy}"]
    return [*words, f"--store={folder / 'store'}", f"--audit-dir={folder / 'run'}", *options]


@pytest.fixture(scope="module")
def undisturbed(policy, tmp_path_factory):
    """The evidence of an audit that nobody killed, and the names of its images."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = processes.run(_command(policy, folder), cwd=ROOT)
    assert len(_evidence(folder)) > 20, done.stdout
    return _evidence(folder), {path.name for path in folder.rglob("store/images/*/*.png")}


def _evidence(folder):
    """The evidence as any reader reads it: the last line of each case, without what changes from run to run."""
    lines = (folder / "run" / "evidence.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len({record["case_id"] for record in records}) == len(records)
    return {record["case_id"]: {key: value for key, value in record.items() if key != "volatile"} for record in records}


def _images(folder):
    """The stored images, each with what changes if it is written again."""
    found = {}
    for path in folder.glob("store/images/*/*.png"):
        state = path.stat()
        found[path] = (state.st_ino, state.st_mtime_ns)
    return found


class _Audit:
    """An audit in a process of its own. Each moment of `wait_for` is one at which it can be killed."""

    def __init__(self, policy, folder, *options):
        self._folder = folder
        self._process = processes.start(_command(policy, folder, *options), cwd=ROOT)

    def wait_for(self, images, seconds):
        """Wait until it has stored so many new images, and then for `seconds`. Returns False if it ends before."""
        enough = len(_images(self._folder)) + images
        while self._process.is_alive() and len(_images(self._folder)) < enough:
            time.sleep(0.005)
        self._process.join(seconds)
        return self._process.is_alive()

    @property
    def workers(self):
        """The process ids of its workers."""
        return [int(word) for word in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()]

    def kill(self, alone=False):
        """Kill its process, and its workers unless `alone`. Workers left alone end by themselves, after their batch."""
        if alone:
            os.kill(self._process.pid, signal.SIGKILL)
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()

    def join(self):
        self._process.join(300)
        return self._process.exitcode


def _unchanged(folder, before):
    """The stored images now. Those of `before` are the same files, written at the same time."""
    now = _images(folder)
    assert {path: now[path] for path in before} == before
    return now


def _is_undisturbed(folder, undisturbed):
    evidence, images = undisturbed
    assert _evidence(folder) == evidence
    assert {path.name for path in _images(folder)} == images


@pytest.mark.parametrize(("workers", "seed"), [("0", 1), ("2", 2)])
def test_an_audit_killed_at_ten_random_moments_leaves_the_evidence_of_one_that_was_not(
    workers, seed, policy, undisturbed, tmp_path
):
    moments, stored, killed = random.Random(seed), {}, 0
    while killed < KILLS:
        audit = _Audit(policy, tmp_path, "-n", workers)
        while_it_loads = moments.random() < 0.4
        images, seconds = (0, moments.uniform(0.2, 3)) if while_it_loads else (moments.randint(1, 5), moments.uniform(0, 0.2))
        assert audit.wait_for(images, seconds), "it ended before all kills: choose fewer images between them"
        audit.kill(alone=moments.random() < 0.5)
        killed += 1
        stored = _unchanged(tmp_path, stored)
    assert 0 < len(stored) <= len(undisturbed[1])
    done = processes.run(_command(policy, tmp_path, "-n", workers), cwd=ROOT)
    _unchanged(tmp_path, stored)
    _is_undisturbed(tmp_path, undisturbed)
    assert "VERDICT" in done.stdout, done.stdout


def test_workers_killed_alone_leave_the_audit_incomplete_and_the_next_run_whole(policy, undisturbed, tmp_path):
    moments = random.Random(3)
    audit = _Audit(policy, tmp_path, "-n", "2")
    for _ in range(3):
        assert audit.wait_for(moments.randint(1, 6), moments.uniform(0, 0.2))
        os.kill(moments.choice(sorted(audit.workers)), signal.SIGKILL)
    assert audit.join() == 10
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["verdict"] == "INCOMPLETE"
    assert any("crashed while running" in reason for reason in manifest["reasons"])
    stored = _images(tmp_path)
    processes.run(_command(policy, tmp_path), cwd=ROOT)
    _unchanged(tmp_path, stored)
    _is_undisturbed(tmp_path, undisturbed)
