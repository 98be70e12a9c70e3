"""The store of batch sizes: what was measured, or found to fit, for a model on a kind of device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.hashing import digest
from dmun_audit.store.files import write_atomically

LARGEST = 1_024  # images; the largest number that a policy takes


class BatchSizes:
    """One small JSON file for each key: what decides the memory that a batch needs and has. Safe for many processes."""

    def __init__(self, store: Path) -> None:
        self._folder = store / "batch-sizes"

    def path(self, key: Sequence[Any]) -> Path:
        """The file of a key, whether it exists or not."""
        return self._folder / f"{digest(list(key))}.json"

    def get(self, key: Sequence[Any]) -> int | None:
        """The number of images in a batch; None if it is not known, or the file is damaged."""
        try:
            value = json.loads(self.path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        size = value.get("batch") if isinstance(value, dict) else None
        return size if type(size) is int and 1 <= size <= LARGEST else None

    def put(self, key: Sequence[Any], size: int, facts: dict[str, Any]) -> None:
        """Keep the number of images in a batch, with facts for a reader. Raises StoreError if it cannot be written."""
        write_atomically(self.path(key), json.dumps({"batch": size} | facts, indent=1).encode())
