"""Runs `python -m pytest …` and `python -m dmun_audit.cli …` in a process of its own that has torch and diffusers imported already.

Importing them takes longer than most audits of the atelier. So one server process imports them once, and each command
runs in a fork of it, with its own folder, environment, arguments and module path. So does each worker of pytest-xdist that a command
starts with `-n`. Every other command is an ordinary subprocess.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
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


def start(command, *, cwd=None, env=None, output=os.devnull) -> multiprocessing.Process:
    """Start `python -m pytest …` in a session of its own and return its process. It writes to `output`: a terminal, or nowhere."""
    words = [str(word) for word in command]
    environment = _environment(env or os.environ)
    _start_server()
    process = _context.Process(target=_run_in_session, args=(words[2], words[3:], str(cwd or os.getcwd()), environment, output))
    process.start()
    return process


def _run_in_session(module, arguments, folder, environment, output):
    os.setsid()
    _run_module(module, arguments, folder, environment, output, output)


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
    if module == "pytest" and "-n" in arguments:
        _fork_workers()
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


def workers_of(pid) -> list[int]:
    """The process ids of the workers of pytest-xdist that a command with `-n` has now, by the id of its process."""
    return [worker for server in _children(pid) for worker in _children(server)]


def _children(pid):
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:  # it has ended
        return []


def _fork_workers():
    """Let execnet start each worker as a fork of this process as it is now: it has imported everything, and pytest has not begun.

    A child of this process keeps that state and forks when it is asked to. It ends with this process, as no one else can ask it.
    """
    from execnet import gateway_io

    asking, asked = socket.socketpair()
    if os.fork() == 0:
        asking.close()
        _serve_workers(asked)
    asked.close()

    class ForkedWorker(gateway_io.Popen2IOMaster):
        """The end of a worker that its session reads and writes."""

        def __init__(self, arguments, execmodel):
            self.popen = Worker(asking)
            gateway_io.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    gateway_io.Popen2IOMaster = ForkedWorker


class Worker:
    """A worker that `_serve_workers` forked: what execnet uses of a `subprocess.Popen`."""

    def __init__(self, server):
        its_input, our_output = os.pipe()
        our_input, its_output = os.pipe()
        socket.send_fds(server, [b"worker"], [its_input, its_output])
        self.pid = int(server.recv(32))
        os.close(its_input)
        os.close(its_output)
        self.stdin, self.stdout = open(our_output, "wb"), open(our_input, "rb")  # noqa: SIM115
        self._end = os.pidfd_open(self.pid)

    def wait(self):
        """Wait for its end. Its exit code is not known, and nobody asks for it."""
        select.select([self._end], [], [])
        return 0

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def _serve_workers(server):
    """Fork a worker for each message, which brings its input and output, and answer with its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets workers that have ended
    while True:
        message, streams, _, _ = socket.recv_fds(server, 32, 2)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            server.close()
            _work(*streams)
        for stream in streams:
            os.close(stream)
        server.send(str(pid).encode())


def _work(its_input, its_output):
    """What `python -u -c LINE` would do for execnet: read what to do, and do it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for stream, number in ((its_input, 0), (its_output, 1)):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["-c"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(eval(sys.stdin.readline()), vars(sys.modules["__main__"]))
    finally:
        os._exit(0)
