"""The lock of a run folder: one process at a time writes there, and a second one is told who does."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from dmun_audit._util.errors import StoreError, UsageError

LOCK = "run.lock"
"""The lock file in the run folder. It is empty and stays there; it holds no evidence."""

HOLDER = "run.lock.json"
"""The name of the process that writes the folder. The lock decides, not this file: a killed process leaves it behind."""


class RunLock:
    """The right to write one run folder. It ends with `release` or with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(str(folder / LOCK), thread_local=False)

    def acquire(self) -> None:
        """Take the lock, in a new folder where there is none.

        Raises UsageError with the name of the process that holds it, and StoreError if the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._write_holder()
        except Timeout:
            raise UsageError(
                f"another audit{_holder(self._folder)} is writing to this run folder: {self._folder}",
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
            (self._folder / HOLDER).unlink(missing_ok=True)
            self._lock.release()

    def _write_holder(self) -> None:
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }
        (self._folder / HOLDER).write_text(json.dumps(holder) + "\n", encoding="utf-8")


def _holder(folder: Path) -> str:
    """The name of the process that holds the lock, in brackets; empty if it has not written its name yet."""
    try:
        holder = json.loads((folder / HOLDER).read_bytes())
        return f" (process {holder['process']} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def is_of_lock(path: Path) -> bool:
    """Whether a file of a run folder belongs to its lock, and so is no evidence."""
    return path.name in {LOCK, HOLDER}
