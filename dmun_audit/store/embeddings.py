"""The store of embeddings: a judge's vector of each image, computed once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import write_atomically

FORMAT = 2  # raise it when a file would say something else about itself
_DIGEST_BYTES = 32

logger = logging.getLogger(__name__)


class EmbeddingStore:
    """Vectors (d,) float32 of one judge, by image key. Safe for many processes.

    `environment` holds versions and device (`environment.judging_environment`): the same judge gives other last digits with others.
    """

    def __init__(self, folder: Path, judge: str, environment: Mapping[str, str] | None = None) -> None:
        self.judge = judge
        self._store = folder
        self._environment = dict(environment or {})
        self._identity = digest([FORMAT, judge, self._environment])
        self.folder = folder / "embeddings" / self._identity[:16]

    def of_judge(self, judge: str) -> EmbeddingStore:
        """The embeddings of another judge in the same store."""
        return EmbeddingStore(self._store, judge, self._environment)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.f32"

    def write(self, key: str, vector: np.ndarray) -> None:
        """Store the embedding of the image `key`."""
        data = vector.astype("<f4").tobytes()
        write_atomically(self._path(key), bytes.fromhex(self._bound(key, data)) + data)

    def read(self, key: str) -> np.ndarray | None:
        """The embedding of the image `key`, or None where there is none.

        A file that does not hold what was written for this judge and key counts as absent, and is logged as a warning.
        """
        path = self._path(key)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        check, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if check.hex() != self._bound(key, data):
            logger.warning("%s does not hold the vector that was stored under its key, and counts as absent", path)
            return None
        return np.frombuffer(data, "<f4")

    def _bound(self, key: str, data: bytes) -> str:
        """SHA-256 of judge, environment, key and vector together, so that a file in another place does not match."""
        return digest_bytes(f"{self._identity} {key} ".encode() + data)
