"""The log of all audits of one candidate's weights: appended to, never rewritten. It lies beside the store's images.

Whoever audits the same weights again and again, under one policy after another, leaves a trace here, and every report shows it.
A store with a remote part keeps each line there too, in a file of its own: files of object storage cannot be appended to.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from uuid import uuid4

from dmun_audit._util.errors import StoreError
from dmun_audit.store.files import held
from dmun_audit.store.remote import remote_of


@dataclass(frozen=True)
class Attempt:
    """One audit of the weights. `verdict` is empty until it is concluded. `began` is its first start (UTC)."""

    audit_hash: str
    began: str
    folder: str
    target: str
    policy: str
    policy_digest: str
    dossier_digest: str
    audit_seed: int
    drawn: str
    verdict: str = ""


class AttemptLog:
    """The log of the weights with the digest `weights`, under the store `folder`. Safe for many processes."""

    def __init__(self, folder: Path, weights: str) -> None:
        self.path = folder / "attempts" / f"{weights}.jsonl"
        self._remote = remote_of(folder)
        self._files = f"attempts/{weights}"  # in the remote part

    def append(self, attempt: Attempt) -> None:
        """Add a line for an attempt that begins, or that was concluded. Raises StoreError where that fails."""
        line = json.dumps(asdict(attempt), ensure_ascii=False, sort_keys=True).encode() + b"\n"
        with held(self.path.with_suffix(".lock")):
            try:
                torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
                with self.path.open("ab") as stream:
                    stream.write(b"\n" + line if torn else line)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreError(f"cannot write {self.path}", reason, "free space or choose another folder") from None
        if self._remote:
            self._remote.write({f"{self._files}/{time.time_ns():020}-{uuid4().hex}.json": line.rstrip(b"\n")})

    def attempts(self) -> list[Attempt]:
        """Every audit of these weights once, by its first start. `verdict` has all different verdicts that it came to."""
        by_hash: dict[str, list[Attempt]] = {}
        for attempt in self._lines():
            by_hash.setdefault(attempt.audit_hash, []).append(attempt)
        return [
            replace(same[0], verdict=", then ".join(dict.fromkeys(attempt.verdict for attempt in same if attempt.verdict)))
            for same in by_hash.values()
        ]

    def _lines(self) -> list[Attempt]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"cannot read {self.path}", reason, "make it readable or choose another folder") from None
        if self._remote:
            shared = [data for _, data in sorted(self._remote.read(self._remote.names(self._files)).items())]
            lines = [*shared, *(line for line in lines if line not in set(shared))]
        return [attempt for attempt in map(_parsed, lines) if attempt is not None]


def _parsed(line: bytes) -> Attempt | None:
    """The attempt of a line; None for a line that holds none, such as one that a killed process left incomplete."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    types = {"audit_seed": int}
    if not isinstance(values, dict) or any(
        not isinstance(values.get(field.name), types.get(field.name, str)) for field in fields(Attempt)
    ):
        return None
    return Attempt(**{field.name: values[field.name] for field in fields(Attempt)})
