"""`dossier build` against llama.cpp's server, killed again and again: nothing that was answered is asked again, and replays are equal."""

import json
import sys

import processes
import pytest
import real_servers
from killed_builds import kept, kill_after, outcome

pytestmark = pytest.mark.slow
CONCURRENCY = 4
COMMAND = [sys.executable, "-m", "dmun_audit.cli", "dossier", "build", "Van Gogh", "--allow-sensitive", "--repeats=2"]


def test_a_build_killed_again_and_again_asks_nothing_twice_and_replays(llama_cpp, tmp_path):
    kills = (1, 4)
    with real_servers.recording(llama_cpp) as proxy:
        command = [*COMMAND, f"--llm={proxy.reference}", f"--concurrency={CONCURRENCY}", "-o", "vg.json"]
        for answers in kills:
            before = kept(tmp_path)
            kill_after(answers, command, tmp_path)
            assert kept(tmp_path)[: len(before)] == before
        before_the_last = kept(tmp_path)
        done = processes.run(command, cwd=tmp_path)
    result = outcome(done, tmp_path / "vg.json")
    assert " questions" in done.stderr  # progress
    assert kept(tmp_path)[: len(before_the_last)] == before_the_last
    keys = [json.loads(line)["key"] for line in kept(tmp_path)]
    assert len(set(keys)) == len(keys) > sum(kills)
    assert len(keys) <= len(proxy.answered) <= len(proxy.bodies) <= len(keys) + CONCURRENCY * len(kills)
    assert max(proxy.bodies.count(body) for body in proxy.bodies) <= 1 + len(kills)
    replay = processes.run([*COMMAND, "--llm=transcript:vg.transcript.jsonl", "-o", "again.json"], cwd=tmp_path)
    assert outcome(replay, tmp_path / "again.json") == result
