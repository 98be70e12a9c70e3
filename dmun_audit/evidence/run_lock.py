"""The lock of a run folder: one process at a time writes there, and a second one is told who does."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dmun_audit._util.errors import StoreError, UsageError

LOCK = "run.lock"
"""The lock file in the run folder. It names the process that holds it, is empty otherwise, and is no evidence."""


class RunLock:
    """The right to write one run folder. It ends with `release` or with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._lock = FileLock(str(self._path), thread_local=False)

    def acquire(self) -> None:
        """Take the lock, in a new folder where there is none.

        Raises UsageError with the name of the process that holds it, and StoreError if the folder cannot be written.
        """
        named = _read(self._path)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._path.write_text(_own_name(), encoding="utf-8")
        except Timeout:
            raise UsageError(
                f"another audit{_in_words(self._holder(named))} is writing to this run folder: {self._folder}",
                "two processes would mix their evidence",
                "wait until it ends, or name another --audit-dir",
            ) from None
        except OSError as error:
            self.release()
            raise StoreError(
                f"cannot lock {self._folder}", error.strerror or str(error), "free space or choose another folder"
            ) from None

    def release(self) -> None:
        """Give the lock back if this object holds it."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._path.write_text("", encoding="utf-8")
            self._lock.release()

    def _holder(self, before: str) -> str:
        """What the lock file says of its holder, after a refusal. `before` is what it said before the attempt.

        Versions of filelock before 4 empty the file when they try to take the lock. The name is then written again.
        """
        if (now := _read(self._path)) or not before:
            return now
        with suppress(OSError):
            self._path.write_text(before, encoding="utf-8")
        return before


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder while it is written. For errors see `RunLock.acquire`."""
    lock = RunLock(folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _own_name() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _in_words(named: str) -> str:
    """The name of the process that holds the lock, in brackets; empty if it has not written its name."""
    try:
        holder = json.loads(named)
        return f" (process {holder['process']} on {holder['host']}, since {holder['since']})"
    except (ValueError, TypeError, KeyError):
        return ""
