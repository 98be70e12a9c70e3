"""Files that are either whole or absent, and locks between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

from filelock import FileLock, Timeout

from dmun_audit._util.errors import StoreError

_PARTIAL = ".partial-"


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn an OSError, such as that of a full disk, into a StoreError that names `path`, its reason and the remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}", error.strerror or str(error), "free space or choose another folder") from None


def is_partial(path: Path) -> bool:
    """Whether a file is what a killed process left of `write_atomically`."""
    return path.name.startswith(_PARTIAL)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left of `write_atomically` in a folder that no other process writes."""
    for path in filter(is_partial, folder.iterdir()):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`. A reader never sees half of it, not even after the process was killed."""
    with reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f"{_PARTIAL}{uuid4().hex}"
        try:
            with partial.open("xb") as stream:
                stream.write(data)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


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
    """Hold the lock file at `path` and yield True. Without `wait`, yield False at once where another process holds it.

    Another thread than the one that entered may leave the context.
    """
    lock = FileLock(str(path), thread_local=False)
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
