"""Runs `python -m pytest …` and `python -m dmun_audit.cli …` in a process of its own that has torch and diffusers imported already.

Importing them takes longer than most audits of the atelier. So one server process imports them once, and each command
runs in a fork of it, with its own folder, environment, arguments and module path. Every other command is an ordinary
subprocess.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from multiprocessing import forkserver
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
WARM = ("pytest", "dmun_audit.cli")

PRELOADED = "warm_imports"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([PRELOADED])
_starting = threading.Lock()  # tests run commands from several threads, and the environment is one


def _start_server() -> None:
    """Start the server where it finds the module that it imports first: Python 3.11 does not tell it this process's module path."""
    with _starting, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
        forkserver.ensure_running()


def _environment(variables) -> dict[str, str]:
    with _starting:
        return {name: value for name, value in variables.items() if not name.startswith("PYTEST_")}


def run(command, *, cwd=None, env=None, timeout=600) -> subprocess.CompletedProcess:
    """Run a command to its end and return what it wrote, as text. The environment is this process's, if none is given."""
    words = [str(word) for word in command]
    environment = _environment(env or os.environ)
    if words[:2] != [sys.executable, "-m"] or words[2] not in WARM:
        return subprocess.run(words, cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        _start_server()
        process = _context.Process(target=_run_module, args=(words[2], words[3:], str(cwd or os.getcwd()), environment, out, err))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout, out.read_bytes(), err.read_bytes())
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        return subprocess.CompletedProcess(words, process.exitcode, *texts)


def start(command, *, cwd=None) -> multiprocessing.Process:
    """Start `python -m pytest …` in a session of its own and return its process, whose output is lost."""
    words = [str(word) for word in command]
    environment = _environment(os.environ)
    _start_server()
    process = _context.Process(target=_run_in_session, args=(words[2], words[3:], str(cwd or os.getcwd()), environment))
    process.start()
    return process


def _run_in_session(module, arguments, folder, environment):
    os.setsid()
    _run_module(module, arguments, folder, environment, os.devnull, os.devnull)


def _run_module(module, arguments, folder, environment, out, err):
    assert PRELOADED in sys.modules, "the server of processes has imported nothing"  # it is silent about an ImportError
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8", closefd=False), open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = False  # a server that was started with -B passes it on
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    own = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [folder, *own, *(path for path in sys.path if path and not path.startswith(str(TESTS)))]
    importlib.invalidate_caches()
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))
