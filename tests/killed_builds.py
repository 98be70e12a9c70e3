"""Runs of `dossier build` that are killed, and what is left of them."""

import os
import signal
import time

import processes


def kept(folder):
    """The lines of the transcript that are whole."""
    path = folder / "vg.transcript.jsonl"
    return [line for line in path.read_bytes().split(b"\n")[:-1] if b'"key"' in line] if path.exists() else []


def kill_after(answers, command, folder):
    """Start the build, and kill it once so many more answers are kept."""
    enough = len(kept(folder)) + answers
    build = processes.start(command, cwd=folder)
    while build.is_alive() and len(kept(folder)) < enough:
        time.sleep(0.005)
    assert build.is_alive(), "it ended before it was killed: kill it earlier"
    os.killpg(build.pid, signal.SIGKILL)
    build.join()


def outcome(done, path):
    """The dossier, or the one error."""
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == path.exists()
    return path.read_bytes() if path.exists() else done.stderr[done.stderr.index("ERROR") :].partition("command dossier")[0]
