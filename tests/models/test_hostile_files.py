"""A corpus of broken and hostile models. Each is refused with what and why; no code runs, and time and memory stay bounded.

The files are written by the modules hostile_*.py beside this one, one module for each kind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_archives import write_archives, write_other_formats
from hostile_configurations import HARMLESS, write_configurations, write_configurations_of_pickles, write_harmless
from hostile_folders import write_folders, write_indexes, write_irregular
from hostile_pickles import write_calls, write_tricks
from hostile_safetensors import write_safetensors
from hostile_state_dicts import write_adapters, write_pickles

pytestmark = pytest.mark.slow

SLOWEST = 20  # seconds for one file, through both doors
MOST_MEMORY = 8 * 2**30

# Runs in a process of its own: every path in turn through both doors, with the peak of memory over where it stood before. A
# weights file is opened before its base is, because that decides most files and takes less time.
PROBE = """
import json, os, sys, time
from dmun_audit._util.errors import UsageError
from dmun_audit.models.files.contents import OpenContents
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
base = parse_reference(sys.argv[1])
load_pipeline(base)  # imports what any load imports
ran = os.path.join(sys.argv[2], "ran")

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key + ":")) * 1024

def load(reference):
    if reference.kind == "weights":
        with OpenContents(reference.path):
            pass
    load_candidate(reference, base)

for path in map(str.rstrip, sys.stdin):
    open("/proc/self/clear_refs", "w").write("5")  # the peak of memory starts again
    before, outcomes, started = status("VmRSS"), [], time.monotonic()
    for door in (lambda reference: cheap_check(reference, base), load):
        try:
            door(parse_reference(path))
        except UsageError as error:
            outcomes.append([error.what, error.why])
        else:
            outcomes.append(None)
    measured = {"seconds": time.monotonic() - started, "peak": status("VmHWM") - before, "ran": os.path.exists(ran)}
    print(json.dumps({"path": path, "outcomes": outcomes, **measured}), flush=True)
"""


def _probe(base, marker, paths):
    """What became of every path: outcome of the early check and of the load, seconds, peak of memory in bytes, whether code ran."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROBE, str(base), str(marker.parent)]
    names = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(command, input=names, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3_000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    """The file that code of the corpus would leave."""
    return tmp_path_factory.mktemp("marker") / "ran"


@pytest.fixture(scope="module")
def probed(base_folder, tmp_path_factory, marker):
    """What became of every file of the corpus, and of every harmless oddity."""
    folder = tmp_path_factory.mktemp("corpus")
    write_safetensors(folder)
    write_pickles(folder, marker)
    write_calls(folder, marker)
    write_tricks(folder, marker)
    write_archives(folder, marker)
    write_other_formats(folder, marker)
    write_adapters(folder)
    write_folders(folder, base_folder, marker)
    write_irregular(folder, base_folder, marker)
    write_indexes(folder, base_folder)
    write_configurations(folder, base_folder)
    write_configurations_of_pickles(folder, base_folder)
    paths = [f"images:{path}" if "images" in path.name else str(path) for path in sorted(folder.iterdir())]
    harmless = write_harmless(tmp_path_factory.mktemp("harmless"), base_folder, marker)
    results = _probe(base_folder, marker, [*paths, *harmless])
    return results[: len(paths)], results[len(paths) :]


def _size(path):
    path = Path(path.removeprefix("images:"))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def test_every_file_is_refused_with_what_and_why(probed):
    results, _ = probed
    assert len(results) >= 400
    loaded = [result["path"] for result in results if result["outcomes"][1] is None]
    assert not loaded
    for result in results:
        what, why = result["outcomes"][1]
        name = Path(result["path"].removeprefix("images:")).name
        assert name in what, result
        assert why or len(what) > len(result["path"]) + 20, result


def test_what_was_refused_early_was_refused_for_the_same_reason(probed):
    results, _ = probed
    early = [result for result in results if result["outcomes"][0] is not None]
    assert len(early) >= 250
    for result in early:
        assert Path(result["path"]).name in result["outcomes"][0][0], result


def test_no_code_ran(probed):
    assert not any(result["ran"] for result in probed[0])


def test_no_file_takes_long_or_much_memory(probed):
    over = {
        Path(result["path"]).name: (result["seconds"], result["peak"])
        for result in probed[0]
        if result["seconds"] > SLOWEST or result["peak"] > MOST_MEMORY
    }
    assert not over


def test_harmless_oddities_load_and_run_no_code(probed):
    _, results = probed
    assert [result["outcomes"] for result in results] == [[None, None]] * len(HARMLESS)
    assert not any(result["ran"] for result in results)


def test_memory_stays_within_twice_the_file_and_64_megabytes(probed):
    over = {
        Path(result["path"]).name: f"{result['peak'] / 1e6:.0f} MB for a file of {_size(result['path']) / 1e6:.1f} MB"
        for result in probed[0]
        if result["peak"] > 2 * _size(result["path"]) + 64 * 2**20
    }
    assert not over
