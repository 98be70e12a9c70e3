"""How many images each worker of pytest-xdist has drawn so far. A worker tells its controller nothing until a test ends, so files do."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


class DrawnCounts:
    """The controller's side: a folder in which every worker keeps its number of images."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dmun-audit-"))

    def total(self) -> int:
        """The images that all workers drew."""
        return sum(map(_number_in, self.folder.glob("*.count")))

    def any_ready(self) -> bool:
        """Whether any worker is ready to draw."""
        return any(self.folder.glob("*.count"))

    def end(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class WorkerCount:
    """A worker's side."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / f"{worker}-{os.getpid()}.count"
        self._number = 0

    def rendered(self, count: int) -> None:
        """Count images that this worker drew; none say that it is ready. That it cannot be written is no fault of the audit."""
        self._number += count
        with suppress(OSError):
            self._path.write_text(str(self._number), encoding="ascii")


def _number_in(path: Path) -> int:
    """The number in a file; 0 while it is being written."""
    try:
        return int(path.read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return 0
