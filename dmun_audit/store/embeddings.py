"""The store of embeddings: a judge's vector of each image, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmun_audit._util.hashing import digest_bytes
from dmun_audit.store.files import write_atomically

_DIGEST_BYTES = 32


class EmbeddingStore:
    """Unit vectors (d,) float32 of one judge, by image key. Safe for many processes."""

    def __init__(self, folder: Path, judge: str) -> None:
        self.judge = judge
        self._store = folder
        self.folder = folder / "embeddings" / judge[:16]

    def of_judge(self, judge: str) -> EmbeddingStore:
        """The embeddings of another judge in the same store."""
        return EmbeddingStore(self._store, judge)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.f32"

    def write(self, key: str, vector: np.ndarray) -> None:
        """Store the embedding of the image `key`."""
        data = vector.astype("<f4").tobytes()
        write_atomically(self._path(key), bytes.fromhex(digest_bytes(data)) + data)

    def read(self, key: str) -> np.ndarray | None:
        """The embedding of the image `key`, or None where there is none or the file does not match its own digest."""
        try:
            stored = self._path(key).read_bytes()
        except OSError:
            return None
        check, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return np.frombuffer(data, "<f4") if check.hex() == digest_bytes(data) else None
