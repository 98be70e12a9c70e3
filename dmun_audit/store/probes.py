"""The store of probes: what a model computed for fixed inputs when its digest was first seen. The same digest must compute it again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import write_atomically
from dmun_audit.store.remote import remote_of

FORMAT = 1  # raise it when probes are made in another way
_DIGEST_BYTES = 32

logger = logging.getLogger(__name__)


class ProbeStore:
    """Probes, vectors (n,) float32, by the digest of the weights and the environment. Safe for many processes."""

    def __init__(self, folder: Path) -> None:
        self._store = folder
        self._remote = remote_of(folder)

    def path(self, weights: str, environment: Mapping[str, str]) -> Path:
        """The file of the probe of these weights, whether it exists or not."""
        key = digest([FORMAT, weights, dict(environment)])
        return self._store / "probes" / key[:2] / f"{key}.f32"

    def first(self, weights: str, environment: Mapping[str, str], probe: np.ndarray) -> np.ndarray:
        """The probe that was first stored for these weights; `probe` itself, which is then stored, where there was none.

        A damaged file, or one of another model, is logged as a warning and replaced. A store with a remote part asks that part for a
        probe which this machine does not have, or has damaged.
        """
        path = self.path(weights, environment)
        name = path.relative_to(self._store).as_posix()
        for read in (self._local, self._elsewhere):
            stored = read(name)
            check, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
            if stored and check.hex() == _bound(path, data):
                if read == self._elsewhere:
                    write_atomically(path, stored)
                return np.frombuffer(data, "<f4")
            if stored:
                logger.warning("%s does not hold the probe that was stored there, and is replaced", path)
        data = probe.astype("<f4").tobytes()
        content = bytes.fromhex(_bound(path, data)) + data
        write_atomically(path, content)
        if self._remote:
            self._remote.write({name: content})
        return probe

    def _local(self, name: str) -> bytes:
        try:
            return (self._store / name).read_bytes()
        except OSError:
            return b""

    def _elsewhere(self, name: str) -> bytes:
        return self._remote.read([name]).get(name, b"") if self._remote else b""


def _bound(path: Path, data: bytes) -> str:
    return digest_bytes(f"{path.stem} ".encode() + data)
