"""The run folder: evidence as append-only JSON lines, the manifest, the images that reports show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.store.files import require_writable, write_atomically

Record = dict[str, Any]


def without_volatile(record: Record) -> Record:
    """What of a record must be equal in every run of the same audit."""
    return {key: value for key, value in record.items() if key != "volatile"}


def fingerprint(records: Iterable[Record]) -> Record:
    """How many cases the evidence holds, and SHA-256 over what must be equal in every run, whatever their order."""
    lasting = sorted((without_volatile(record) for record in records), key=lambda record: record["case_id"])
    text = json.dumps(lasting, sort_keys=True)  # no canonical JSON: a file that somebody edited may hold NaN or half a character
    return {"cases": len(lasting), "digest": digest_bytes(text.encode())}


def read_lines(path: Path) -> Iterator[tuple[int, Record | None]]:
    """Number (from 1) and record of every line of an evidence file; None for a line that holds no record.

    Lines end in a newline alone, since a record may hold any other separator. Raises UsageError for an unreadable file.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read", error.strerror or str(error), "name another run folder") from None
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield number, _parsed(line)


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("case_id"), str) else None


def read_manifest(path: Path, remedy: str) -> Record | None:
    """The manifest in the file at `path`, or None where there is none; UsageError, with `remedy`, for anything else."""
    try:
        held = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read", str(error), remedy) from None
    if not isinstance(held, dict):
        raise UsageError(f"{path} is no manifest", "it holds no JSON object", remedy)
    return held


def _same_findings(held: Record, record: Record) -> bool:
    return all(held.get(part) == record.get(part) for part in ("verdict", "gating", "asked", "images", "calibration", "second"))


class RunFolder:
    """One audit's folder. Opening it for another audit than the one it holds is an error; nothing in it is lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.evidence = path / "evidence.jsonl"
        self.manifest = path / "manifest.json"
        self._held: dict[str, Record] | None = None  # what stands in the evidence, once read: one process writes it

    def open(self, audit_hash: str) -> None:
        """Begin or continue the audit of that hash.

        Raises UsageError where the folder holds another audit, or files that are none of ours.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--audit-dir {self.path} is a file", "an audit leaves a folder", "name a new or empty folder")
        held = self.read_manifest()
        if held is None and self.path.is_dir() and any(self.path.iterdir()):
            raise UsageError(
                f"--audit-dir {self.path} holds other files", "they would be mixed with the audit's", "name a new or empty folder"
            )
        if held is not None and held.get("audit_hash") != audit_hash:
            raise UsageError(
                f"--audit-dir {self.path} holds another audit",
                f"of {held.get('target', {}).get('name', 'another target')!r} with other models, policy, dossier or seed",
                "name another folder, or leave the option out: every audit then gets a folder of its own",
            )
        require_writable(self.path)
        self._mend_torn_line()

    def append(self, record: Record, *, adjusted: bool = True) -> None:
        """Add one record, unless the very same stands there already.

        One that is not `adjusted` yet (p-values after Holm, waivers: they come when all cases are in) is the same as one
        that holds the same findings and was adjusted in an earlier run.
        """
        if self._held is None:
            self._held = self.records()
        held = self._held.get(record["case_id"])
        if held is not None and (
            without_volatile(held) == without_volatile(record) or (not adjusted and _same_findings(held, record))
        ):
            return
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"
        try:
            with self.evidence.open("a", encoding="utf-8") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {self.evidence}", error.strerror or str(error), "free space, then repeat") from None
        self._held[record["case_id"]] = record

    def records(self) -> dict[str, Record]:
        """The latest record of every case, by case id."""
        return {record["case_id"]: record for _, record in read_lines(self.evidence) if record is not None}

    def read_manifest(self) -> Record | None:
        """The manifest, or None where there is none yet."""
        return read_manifest(self.manifest, "name another --audit-dir")

    def write_manifest(self, manifest: Record) -> None:
        """Replace the manifest."""
        text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n"
        write_atomically(self.manifest, text.encode())

    def keep_image(self, source: Path) -> None:
        """Put a stored image into the run folder: linked where the file system can, else copied."""
        place = self.path / "images" / source.name
        if place.exists() or not source.exists():
            return
        try:
            place.parent.mkdir(exist_ok=True)
            os.link(source, place)
        except FileExistsError:
            return
        except OSError:
            write_atomically(place, source.read_bytes())

    def _mend_torn_line(self) -> None:
        """A kill in the middle of a line leaves half of it: end it, so that the next record gets a line of its own."""
        if self.evidence.exists():
            data = self.evidence.read_bytes()
            if data and not data.endswith(b"\n"):
                with self.evidence.open("ab") as stream:
                    stream.write(b"\n")
