"""Whole audits on a disk that is full: one clear error, exit code 4, and the next run goes on."""

import json
import os
import subprocess
import sys

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy
from small_disk import small_disk

ROOT = processes.TESTS.parent
ONE = ["-k", "sees-the-target or fills"]  # one control
LOADS_NO_MODEL = "def test_ours(audit, control): pass\n"
CHECKS = "def test_ours(audit, control): audit.check(control)\n"
FILLS = """
import pytest
from small_disk import SmallDisk
from pathlib import Path
@pytest.fixture(autouse=True, scope="session")
def fills(audit): SmallDisk(Path(DISK)).fill(LEAVE)
"""


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 2000) as made:
        yield made


@pytest.fixture
def run(tmp_path, disk, store):
    """Run a test file of one's own with the run folder on the small disk."""
    policy = coarse_policy(tmp_path / "quick.toml", **FEW_IMAGES)
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.append({str(processes.TESTS)!r})\n{(ROOT / 'conftest.py').read_text()}"
    )

    def command(text, *options, store=store):
        (tmp_path / "audits").mkdir(exist_ok=True)
        (tmp_path / "audits" / "test_mine.py").write_text(text)
        words = [sys.executable, "-m", "pytest", "audits", "-p", "no:cacheprovider", f"--policy={policy}", f"--store={store}"]
        return processes.run([*words, f"--audit-dir={disk.folder / 'run'}", *options], cwd=tmp_path, env=_outside_ci())

    return command


def _outside_ci():
    """This process's environment, in which pytest's summary has one line for each failed test and not the whole message."""
    return {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}


def _is_one_clear_error(done, culprit):
    said = done.stdout + done.stderr
    assert done.returncode == 4, said
    assert culprit in said, said
    assert said.count("No space left on device") <= 2, said  # a failed test shows the error too
    assert said.count("ERROR: ") == 1, said
    assert not any(word in said for word in ("Traceback", "INTERNALERROR", "VERDICT", "Logging error")), said


def _filling(disk, leave=0):
    return FILLS.replace("DISK", repr(str(disk.folder))).replace("LEAVE", str(leave))


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["-n 0", "-n 2"])
def test_a_run_that_goes_on_from_a_full_disk(workers, run, disk):
    assert run(LOADS_NO_MODEL).returncode == 10
    disk.fill()
    _is_one_clear_error(run(LOADS_NO_MODEL, *workers), "cannot")
    disk.free()
    assert run(LOADS_NO_MODEL).returncode == 10


@pytest.mark.parametrize("leave", [0, 24_000])
def test_reports_that_cannot_be_written(leave, run, disk):
    _is_one_clear_error(run(LOADS_NO_MODEL + _filling(disk, leave)), "cannot write")
    manifest = json.loads((disk.folder / "run" / "manifest.json").read_text())
    assert (manifest["verdict"], manifest.get("exit_code")) == ("INCOMPLETE", None)
    page = disk.folder / "run" / "report.html"
    assert not page.exists() or page.read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["-n 0", "-n 1"])
def test_evidence_that_cannot_be_written(workers, run, disk):
    _is_one_clear_error(run(CHECKS + _filling(disk), *ONE, *workers), "evidence.jsonl")


def test_a_log_that_cannot_be_written(run, disk):
    _is_one_clear_error(run(CHECKS + _filling(disk), *ONE, "--log-level=info"), "main.log")


def test_images_that_cannot_be_stored_are_rendered_after_the_others_once_there_is_space(run, tmp_path):
    with small_disk(tmp_path / "store", 100) as small:  # room for the probes of both models and a few images
        _is_one_clear_error(run(CHECKS, *ONE, store=small.folder), ".png")
        stored = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in small.folder.rglob("*.png")}
        assert stored
        subprocess.run(["mount", "-o", "remount,size=4000k", str(small.folder)], check=True)
        assert run(CHECKS, *ONE, store=small.folder).returncode == 11
        assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in stored} == stored
        assert len(list(small.folder.rglob("*.png"))) > len(stored)
        assert not list(small.folder.rglob(".partial-*"))
