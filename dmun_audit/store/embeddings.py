"""The store of embeddings: a judge's vector of each image, computed once. One SQLite file for each judge and environment."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from dmun_audit._util.errors import StoreError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import held, reported

FORMAT = 3  # raise it when a file would say something else about itself

_PER_QUERY = 500  # keys: SQLite's lowest limit of variables is 999
_PATIENCE = 300.0  # seconds to wait for another process that writes
_TABLE = "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, bound BLOB NOT NULL, vector BLOB NOT NULL)"

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class EmbeddingStore:
    """Vectors (d,) float32 of one judge, by image key. Safe for many processes.

    `environment` holds versions and device (`environment.judging_environment`): the same judge gives other last digits with others.

    The file has SQLite's rollback journal, not its write-ahead log, which network folders do not support. A process that is killed
    while it writes loses that write alone.
    """

    def __init__(self, folder: Path, judge: str, environment: Mapping[str, str] | None = None) -> None:
        self.judge = judge
        self._store = folder
        self._environment = dict(environment or {})
        self._identity = digest([FORMAT, judge, self._environment])
        self.path = folder / "embeddings" / f"{self._identity[:32]}.sqlite"

    def of_judge(self, judge: str) -> EmbeddingStore:
        """The embeddings of another judge in the same store."""
        return EmbeddingStore(self._store, judge, self._environment)

    def complete(
        self, keys: Iterable[str], compute: Callable[[list[str]], Iterable[np.ndarray]], per_write: int
    ) -> dict[str, np.ndarray]:
        """The vectors of the images `keys`. `compute` gives those that the store lacks, and is called with `per_write` keys at most.

        While it computes, other processes wait, and then read what it has stored: no vector is computed twice. A process that is
        killed loses the vectors of one call.
        """
        wanted = list(dict.fromkeys(keys))
        vectors = self.read(wanted)
        missing = [key for key in wanted if key not in vectors]
        for start in range(0, len(missing), per_write):
            batch = missing[start : start + per_write]
            with held(self.path.with_suffix(".lock")):
                vectors |= self.read(batch)  # what another process has computed since
                if lacking := [key for key in batch if key not in vectors]:
                    new = dict(zip(lacking, compute(lacking), strict=True))
                    self.write(new)
                    vectors |= new
        return vectors

    def write(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Store the embeddings of these images, all or none. Raises StoreError where that fails."""
        stored = {key: vector.astype("<f4").tobytes() for key, vector in vectors.items()}
        rows = [(key, bytes.fromhex(self._bound(key, data)), data) for key, data in stored.items()]
        with reported(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._run(lambda connection: connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", rows))

    def read(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """The embeddings of those images of `keys` that have one.

        A row that does not hold finite numbers that were written for this judge and key counts as absent, and so does a file that
        is damaged. Both are logged as a warning. Raises StoreError where the file cannot be read.
        """
        if not self.path.exists():
            return {}
        vectors = {}
        for start in range(0, len(keys), _PER_QUERY):
            for key, bound, data in self._run(partial(_select, keys[start : start + _PER_QUERY])):
                vector = np.frombuffer(data, "<f4") if bound.hex() == self._bound(key, data) else None
                if vector is not None and np.isfinite(vector).all():
                    vectors[key] = vector
                else:
                    logger.warning(
                        "%s does not hold the vector that was stored under its key %s; it counts as absent", self.path, key
                    )
        return vectors

    def _run(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `act` gives. Its changes are kept together, or none after an error. A damaged file is replaced by an empty one."""
        for again in (True, False):
            file = self._file()
            try:
                with (
                    closing(sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level="IMMEDIATE")) as connection,
                    connection,
                ):
                    connection.execute(_TABLE)
                    return act(connection)
            except sqlite3.DatabaseError as error:
                damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
                if again and damaged:
                    self._discard(file, error)
                elif damaged or isinstance(error, sqlite3.OperationalError):
                    raise StoreError(f"cannot write {self.path}", str(error), "free space or choose another folder") from None
                else:
                    raise
        raise AssertionError("the second try returns or raises")

    def _file(self) -> int | None:
        """What tells the file from another one under its name; None where there is none."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    def _discard(self, file: int | None, error: sqlite3.Error) -> None:
        """Move a damaged file away: its vectors are computed again. Does nothing if another process has done so before."""
        with held(self.path.with_suffix(".discarding.lock")):
            if file is not None and file != self._file():
                return
            logger.warning("%s is damaged and counts as absent: %s", self.path, error)
            with reported(self.path), suppress(FileNotFoundError):
                self.path.replace(self.path.with_suffix(".damaged"))
                self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)

    def _bound(self, key: str, data: bytes) -> str:
        """SHA-256 of judge, environment, key and vector together, so that a row in another place does not match."""
        return digest_bytes(f"{self._identity} {key} ".encode() + data)


def _select(keys: Sequence[str], connection: sqlite3.Connection) -> list[tuple[str, bytes, bytes]]:
    marks = ", ".join("?" * len(keys))
    columns = "key, CAST(bound AS BLOB), CAST(vector AS BLOB)"
    return connection.execute(f"SELECT {columns} FROM embeddings WHERE key IN ({marks})", list(keys)).fetchall()
