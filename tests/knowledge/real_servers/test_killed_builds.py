"""`dossier build` against llama.cpp's server, killed again and again: nothing that was answered is asked again, and replays are equal."""

import json
import os
import signal
import sys
import time

import processes
import pytest
import real_servers

pytestmark = pytest.mark.slow
CONCURRENCY = 4
COMMAND = [sys.executable, "-m", "dmun_audit.cli", "dossier", "build", "Van Gogh", "--allow-sensitive", "--repeats=2"]


def _kept(folder):
    """The lines of the transcript that are whole."""
    path = folder / "vg.transcript.jsonl"
    return [line for line in path.read_bytes().split(b"\n")[:-1] if b'"key"' in line] if path.exists() else []


def _kill_after(answers, command, folder):
    """Start the build, and kill it once so many more answers are kept."""
    enough = len(_kept(folder)) + answers
    build = processes.start(command, cwd=folder)
    while build.is_alive() and len(_kept(folder)) < enough:
        time.sleep(0.005)
    assert build.is_alive(), "it ended before it was killed: kill it earlier"
    os.killpg(build.pid, signal.SIGKILL)
    build.join()


def _outcome(done, path):
    """The dossier, or the one error."""
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == path.exists()
    return path.read_bytes() if path.exists() else done.stderr[done.stderr.index("ERROR") :].partition("command dossier")[0]


def test_a_build_killed_again_and_again_asks_nothing_twice_and_replays(llama_cpp, tmp_path):
    kills = (1, 4)
    with real_servers.recording(llama_cpp) as proxy:
        command = [*COMMAND, f"--llm={proxy.reference}", f"--concurrency={CONCURRENCY}", "-o", "vg.json"]
        for answers in kills:
            before = _kept(tmp_path)
            _kill_after(answers, command, tmp_path)
            assert _kept(tmp_path)[: len(before)] == before
        kept = _kept(tmp_path)
        done = processes.run(command, cwd=tmp_path)
    outcome = _outcome(done, tmp_path / "vg.json")
    assert " questions" in done.stderr  # progress
    assert _kept(tmp_path)[: len(kept)] == kept
    keys = [json.loads(line)["key"] for line in _kept(tmp_path)]
    assert len(set(keys)) == len(keys) > sum(kills)
    assert len(keys) <= len(proxy.answered) <= len(proxy.bodies) <= len(keys) + CONCURRENCY * len(kills)
    assert max(proxy.bodies.count(body) for body in proxy.bodies) <= 1 + len(kills)
    replay = processes.run([*COMMAND, "--llm=transcript:vg.transcript.jsonl", "-o", "again.json"], cwd=tmp_path)
    assert _outcome(replay, tmp_path / "again.json") == outcome
