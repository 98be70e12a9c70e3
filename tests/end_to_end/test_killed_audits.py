"""Audits killed again and again at random moments: the evidence is that of an audit nobody killed, and no image is rendered twice."""

import json
import os
import random
import signal
import sys
import time

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

ROOT = processes.TESTS.parent


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy of few images in small batches, so that an audit has many moments at which it can be killed."""
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FEW_IMAGES)


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
            time.sleep(0.02)
        self._process.join(seconds)
        return self._process.is_alive()

    def kill_a_worker(self, chance):
        """Kill one of its workers. It waits for one: new images may come from workers that an earlier kill left alone."""
        while self._process.is_alive() and not (workers := processes.workers_of(self._process.pid)):
            time.sleep(0.02)
        os.kill(chance.choice(workers), signal.SIGKILL)

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


def _moments(seed, while_it_loads, while_it_renders):
    """So many moments in a random order: numbers of new images to wait for, each with seconds to wait after that."""
    chance = random.Random(seed)
    moments = [(0, chance.uniform(0.2, 1.2)) for _ in range(while_it_loads)]
    moments += [(chance.randint(1, 3), chance.uniform(0, 0.1)) for _ in range(while_it_renders)]
    chance.shuffle(moments)
    return moments


def _killed(moments, policy, folder, *options):
    """Start the audit in `folder` for each moment and kill it then; its workers live on every other time. Returns its images."""
    stored = {}
    for place, (images, seconds) in enumerate(moments):
        audit = _Audit(policy, folder, *options)
        assert audit.wait_for(images, seconds), "it ended before all kills: choose fewer images between them"
        audit.kill(alone=place % 2 == 1)
        stored = _unchanged(folder, stored)
    return stored


def test_an_audit_killed_at_ten_random_moments_leaves_the_evidence_of_one_that_was_not(policy, undisturbed, tmp_path):
    stored = _killed(_moments(1, 4, 6), policy, tmp_path)
    assert 0 < len(stored) <= len(undisturbed[1])
    done = processes.run(_command(policy, tmp_path), cwd=ROOT)
    _unchanged(tmp_path, stored)
    _is_undisturbed(tmp_path, undisturbed)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["attempts"]) > 2, done.stdout
    assert manifest["images"]["rendered"] + len(stored) == len(_images(tmp_path))


def test_an_audit_with_two_workers_killed_at_seven_random_moments_leaves_it_too(policy, undisturbed, tmp_path):
    stored = _killed(_moments(2, 4, 3), policy, tmp_path, "-n", "2")
    processes.run(_command(policy, tmp_path), cwd=ROOT)
    _unchanged(tmp_path, stored)
    _is_undisturbed(tmp_path, undisturbed)


@pytest.mark.flaky(reruns=2)  # in one of six runs pytest ended with an internal error (exit code 3), which is not explained yet
def test_three_workers_killed_alone_make_the_audit_incomplete_and_the_next_one_leaves_it_too(policy, undisturbed, tmp_path):
    stored, audit = {}, _Audit(policy, tmp_path, "-n", "2")
    for _, seconds in _moments(3, 0, 3):
        assert audit.wait_for(1, seconds), "it ended before all kills: choose fewer images between them"
        audit.kill_a_worker(random.Random(seconds))
        stored = _unchanged(tmp_path, stored)
    assert audit.join() == 10
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["verdict"] == "INCOMPLETE"
    assert any("crashed while running" in reason for reason in manifest["reasons"]), manifest["reasons"]
    stored = _unchanged(tmp_path, stored)
    processes.run(_command(policy, tmp_path), cwd=ROOT)
    _unchanged(tmp_path, stored)
    _is_undisturbed(tmp_path, undisturbed)
