"""By hand: a real small model as GGUF behind llama.cpp's server, killed in the middle, resumed and replayed.

    DMUN_REAL_GGUF=gemma-3-270m-q4_k_m.gguf pytest tests/knowledge/real_servers/test_a_real_small_model.py -s

DMUN_REAL_TEMPLATE names a file with a chat template, for a model whose file holds none. It takes up to ten minutes on two cores.
"""

import json
import os
import sys
import time
from pathlib import Path

import processes
import pytest
import real_servers
from killed_builds import kept, kill_after, outcome

from dmun_audit.knowledge.reading import read_dossier

MODEL = os.environ.get("DMUN_REAL_GGUF", "")
LONGEST = 600  # seconds, the two parts of the build together

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not MODEL, reason="DMUN_REAL_GGUF names no GGUF file of a chat model")]


def test_a_build_against_a_real_small_model_ends_in_time_and_pays_nothing_twice(tmp_path):
    pytest.importorskip("xllamacpp", reason="the package xllamacpp holds llama.cpp's server")
    template = os.environ.get("DMUN_REAL_TEMPLATE")
    options = {"threads": len(os.sched_getaffinity(0)), "context": 4 * 8_192} | ({"template": template} if template else {})
    with (
        real_servers.llama_cpp(Path(MODEL), tmp_path / "server.txt", **options) as server,
        real_servers.recording(server) as proxy,
    ):
        command = [
            sys.executable,
            "-m",
            "dmun_audit.cli",
            "dossier",
            "build",
            "Van Gogh",
            f"--llm={proxy.reference}",
            "-o",
            "vg.json",
        ]
        started = time.monotonic()
        kill_after(8, command, tmp_path)
        before = kept(tmp_path)
        done = processes.run(command, cwd=tmp_path, timeout=LONGEST)
        seconds = time.monotonic() - started
        asked = len(proxy.bodies)
    print(done.stderr, done.stdout, f"{seconds:.0f} seconds, {asked} requests", sep="\n")
    result = outcome(done, tmp_path / "vg.json")
    assert seconds < LONGEST
    assert kept(tmp_path)[: len(before)] == before
    keys = [json.loads(line)["key"] for line in kept(tmp_path)]
    assert len(keys) == len(set(keys))
    assert asked <= len(keys) + 4 + done.stderr.count("asking once more") + done.stderr.count("; try ")
    if done.returncode == 0:
        assert read_dossier(tmp_path / "vg.json").provenance.thin  # so small a model leaves parts out
        assert "score" in done.stdout
    again = [*command[:6], "--llm=transcript:vg.transcript.jsonl", "-o", "again.json"]
    assert outcome(processes.run(again, cwd=tmp_path), tmp_path / "again.json") == result
