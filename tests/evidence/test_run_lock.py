"""A run folder has one writer: a second one is refused by name, and a writer that died holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.run_folder import RunFolder
from dmun_audit.evidence.run_lock import LOCK, RunLock
from dmun_audit.runtime.target_audit import TargetAudit

HOLDS = """
import sys, time
from pathlib import Path
from dmun_audit.evidence.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_by_name(holder, tmp_path):
    with pytest.raises(UsageError) as refused:
        RunLock(tmp_path / "run").acquire()
    since = json.loads((tmp_path / "run" / LOCK).read_text())["since"]
    assert str(refused.value).splitlines() == [
        f"another audit (process {holder.pid} on {socket.gethostname()}, since {since}) is writing to this run folder: "
        f"{tmp_path / 'run'}",
        "  why:  two processes would mix their evidence",
        "  do:   wait until it ends, or name another --audit-dir",
    ]


@pytest.mark.parametrize("name", ["", "{", "[]", '{"process": 1}'])
def test_a_holder_without_a_name_is_refused_too(name, holder, tmp_path):
    (tmp_path / "run" / LOCK).write_text(name)
    with pytest.raises(UsageError, match=r"^another audit is writing to this run folder"):
        RunLock(tmp_path / "run").acquire()


def test_the_lock_of_a_killed_process_holds_nothing(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock = RunLock(tmp_path / "run")
    lock.acquire()
    assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
    lock.release()
    assert (tmp_path / "run" / LOCK).read_text() == ""
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_the_same_process_is_refused_as_well_until_it_releases(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        second.acquire()
    second.release()  # it never had the lock: this must not free it
    with pytest.raises(UsageError, match="another audit"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot lock"):
        RunLock(tmp_path / "file" / "run").acquire()


# Where an audit begins, and where its reports are written again.


@pytest.fixture
def an_audit(tmp_path):
    def make(**options):
        return TargetAudit(
            resolve(Options(policy="smoke", store=str(tmp_path / "store"), audit_dir=str(tmp_path / "run"), **options))
        )

    return make


def test_an_audit_refuses_the_folder_of_another_that_runs_and_changes_nothing_there(an_audit, tmp_path):
    first, second = an_audit(), an_audit()
    first.begin()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(UsageError, match="another audit"):
        second.begin()
    second.end()
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert second.folder is None
    first.end()
    second.begin()
    assert len(second.folder.read_manifest().attempts) == 2
    second.end()


def test_a_folder_of_something_else_gets_no_lock_file(an_audit, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="other files"):
        an_audit().begin()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_process_killed_before_its_manifest_leaves_a_folder_that_an_audit_can_use(an_audit, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (LOCK, ".partial-0123"):
        (tmp_path / "run" / name).write_text("")
    begun = an_audit()
    begun.begin()
    begun.end()
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"manifest.json", LOCK} <= left
    assert ".partial-0123" not in left


def test_another_audit_in_the_folder_is_told_from_a_running_one(an_audit, tmp_path):
    first = an_audit()
    first.begin()
    with pytest.raises(UsageError, match="holds another audit"):
        an_audit(audit_seed=7).begin()
    first.end()
    assert RunFolder(tmp_path / "run").read_manifest().audit_hash == first.config.audit_hash


def test_reports_are_not_written_again_while_an_audit_runs(an_audit, tmp_path, capsys):
    begun = an_audit()
    begun.begin()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert main(["report", str(tmp_path / "run")]) == 4
    assert f"another audit (process {os.getpid()} on" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    begun.end()
    assert main(["report", str(tmp_path / "run")]) in (0, 10)
    assert (tmp_path / "run" / "report.html").is_file()
