"""Files that are either whole or absent, and locks between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

from filelock import FileLock, Timeout

from dmun_audit._util.errors import StoreError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`. A reader never sees half of it, not even after the process was killed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".partial-{uuid4().hex}"
        try:
            with partial.open("xb") as stream:
                stream.write(data)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"cannot write {path}", error.strerror or str(error), "free space or choose another folder") from None


def require_writable(folder: Path) -> None:
    """Create `folder` and write a temporary file in it. Raises StoreError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(f"cannot write to {folder}", error.strerror or str(error), "choose a folder that is yours") from None


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path` and yield True. Without `wait`, yield False at once where another process holds it."""
    lock = FileLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise StoreError(f"cannot lock {path}", error.strerror or str(error), "free space or choose another folder") from None
    try:
        yield True
    finally:
        lock.release()
