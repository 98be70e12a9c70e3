"""The store of finds: what attacks found, by a hash of everything that decided it. A stopped attack goes on from its checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import StoreError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.store.files import held, write_atomically
from dmun_audit.store.remote import remote_of

if TYPE_CHECKING:
    import torch

FORMAT = 1  # raise it when the same key would stand for another find

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StoredFind:
    """A find: `tensors` by name, and `facts` such as its kind, its words and the losses on the way."""

    key: str
    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


class FindStore:
    """Finds under `folder`, one safetensors file for each key. Safe for many processes. `remote` holds them for other machines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._remote = remote_of(folder)

    @staticmethod
    def key(facts: Mapping[str, Any]) -> str:
        """The key of a find: SHA-256 of everything that decides it."""
        return digest({"format": FORMAT, **facts})

    def path(self, key: str) -> Path:
        """The file of a find, whether it exists or not."""
        return self._folder / "finds" / key[:2] / f"{key}.safetensors"

    def checkpoint(self, key: str) -> Path:
        """The file of an attack that has not ended."""
        return self.path(key).with_suffix(".checkpoint")

    def get(self, key: str, make: Callable[[Path], tuple[dict[str, torch.Tensor], dict[str, Any]]]) -> StoredFind:
        """The find of that key. `make` makes it, where there is none; it may keep its state in the checkpoint that it is given."""
        found = self.read(key)
        if found is not None:
            return found
        with held(self.path(key).with_suffix(".lock"), wait=True):
            found = self.read(key)
            if found is None:
                tensors, facts = make(self.checkpoint(key))
                self._write(key, tensors, facts)
                self.checkpoint(key).unlink(missing_ok=True)
                # As it is read later: tensors with another order in memory would give other last bits.
                found = self.read(key) or StoredFind(key, tensors, facts)
        return found

    def read(self, key: str) -> StoredFind | None:
        """The find of that key; None if there is none. A damaged file is logged as a warning and counts as absent."""
        path = self.path(key)
        name = path.relative_to(self._folder).as_posix()
        try:
            data = path.read_bytes()
        except OSError:
            data = self._remote.read([name]).get(name, b"") if self._remote else b""
            if not data:
                return None
            write_atomically(path, data)
        try:
            return parsed(key, data)
        except (KeyError, TypeError, ValueError, OSError) as error:
            logger.warning("%s is damaged and counts as absent: %s", path, error)
            return None

    def _write(self, key: str, tensors: Mapping[str, torch.Tensor], facts: dict[str, Any]) -> None:
        from safetensors.torch import save

        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        unsealed = save(plain)
        length = int.from_bytes(unsealed[:8], "little")
        sealed = json.dumps(facts | {"sealed": _seal(key, unsealed[8 + length :], facts)})
        data = save(plain, metadata={"dmun-audit": sealed})
        write_atomically(self.path(key), data)
        if self._remote:
            self._remote.write({self.path(key).relative_to(self._folder).as_posix(): data})


@dataclass(frozen=True)
class FrozenFile:
    """The file of a find in the run folder of an earlier audit, with its key and SHA-256 there."""

    path: Path
    key: str
    sha256: str

    def read(self) -> StoredFind:
        """The find. Raises StoreError if the file cannot be read, or is another one."""
        try:
            data = self.path.read_bytes()
            if digest_bytes(data) != self.sha256:
                raise ValueError("it changed after the audit was planned")
            return parsed(self.key, data)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise StoreError(
                f"the find {self.path} cannot be used", str(error), "give an unchanged copy of that run folder to --regress"
            ) from None


def parsed(key: str, data: bytes) -> StoredFind:
    """The find that a file holds. Raises KeyError, TypeError or ValueError for a file that was not written under that key."""
    from safetensors.torch import load

    length = int.from_bytes(data[:8], "little")
    facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["dmun-audit"])
    if facts.pop("sealed") != _seal(key, data[8 + length :], facts):
        raise ValueError("its content is not what was written under its key")
    return StoredFind(key, load(data), facts)


def _seal(key: str, content: bytes, facts: Mapping[str, Any]) -> str:
    return digest([key, digest_bytes(content), dict(facts)])
