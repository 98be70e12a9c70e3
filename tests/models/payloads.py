"""Objects that do something when they are unpickled."""

from __future__ import annotations

import os
from pathlib import Path


class Marker:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class Spawner(Marker):
    def __reduce__(self):
        return os.system, (f"touch {self.path}",)
