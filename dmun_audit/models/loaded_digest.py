"""The digest of a candidate's tensors as loaded, before the audit is planned: seeds follow from it.

Only loading tells it: the same file gives other weights over another base or in another number format, and its metadata, the
names of its tensors and their order give none. The digest is kept in the store, so that only the first audit of a model loads it
twice. The audit itself checks the digest of what it loads, so a wrong entry changes no seed unnoticed.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.models.references import ModelReference
from dmun_audit.store.files import write_atomically

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.models.loading import Model

LIBRARIES = ("dmun_audit", "torch", "diffusers", "transformers")
UNSEEN = frozenset({"hook", "images"})
"""Kinds of candidates whose weights nobody sees before the audit: what a function returns may be another model at each call."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightsToLoad:
    """A candidate with all that decides its weights as loaded. `sources` are the digests of the files of both models."""

    candidate: ModelReference
    base: ModelReference
    sources: Mapping[str, str]
    dtype: str
    trust_remote_code: bool
    store: Path

    @property
    def entry(self) -> Path:
        """The file in the store that keeps the digest."""
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        key = digest([self.candidate.kind, self.candidate.name, dict(self.sources), self.dtype, self.trust_remote_code, versions])
        return self.store / "fingerprints" / f"{key}.json"

    def known(self) -> str:
        """The digest (64 hex digits) if no loading is needed; empty otherwise, and for a candidate whose weights are unseen."""
        if self.candidate.kind in UNSEEN | {"memory"}:
            return ""
        try:
            value = json.loads(self.entry.read_bytes())
        except (OSError, ValueError, RecursionError):
            return ""
        kept = value.get("tensors_digest") if isinstance(value, dict) else None
        return kept if isinstance(kept, str) and _DIGEST.fullmatch(kept) else ""

    def digest(self, candidate: InMemoryModel | None = None, base: InMemoryModel | None = None) -> str:
        """The digest, from the store or by loading the candidate on the CPU; empty for a candidate whose weights are unseen.

        `candidate` and `base` are given if they are pipelines in memory. Raises what loading the candidate raises.
        """
        if candidate is not None:
            return candidate.tensors_digest
        if self.candidate.kind in UNSEEN or self.known():
            return self.known()
        from dmun_audit.store.images import ImageStore

        ImageStore(self.store).require_writable()  # before the load, which may take minutes
        from dmun_audit.models.loading import load_candidate

        below: Model = base or self.base
        loaded = load_candidate(self.candidate, below, dtype=self.dtype, trust_remote_code=self.trust_remote_code)
        tensors_digest = loaded.tensors_digest
        del loaded
        gc.collect()  # pipelines hold circles of references: the audit is about to load the model again
        write_atomically(self.entry, json.dumps({"model": self.candidate.text, "tensors_digest": tensors_digest}).encode())
        return tensors_digest

    def confirm(self, planned: str, loaded: str) -> None:
        """Raise LoadError if an audit was planned for other weights than it loaded, and forget what the store says of them."""
        if self.candidate.kind in UNSEEN | {"memory"} or not planned or planned == loaded:
            return
        self.entry.unlink(missing_ok=True)
        raise LoadError(
            f"{self.candidate.text} has other weights than those that this audit was planned for",
            f"its weights as loaded have the digest {loaded[:16]}… and the store said {planned[:16]}…",
            "run the audit again: its seeds then follow from the weights that it loads",
        )
