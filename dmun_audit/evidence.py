"""The run folder: evidence as append-only JSON lines, the manifest, the images that reports show."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from dmun_audit.errors import StoreError, UsageError
from dmun_audit.store.files import write_atomically

Record = dict[str, Any]


def without_volatile(record: Record) -> Record:
    """What of a record must be equal in every run of the same audit."""
    return {key: value for key, value in record.items() if key != "volatile"}


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
        self.path.mkdir(parents=True, exist_ok=True)
        self._mend_torn_line()

    def append(self, record: Record) -> None:
        """Add one record, unless the very same stands there already."""
        if self._held is None:
            self._held = self.records()
        held = self._held.get(record["case_id"])
        if held is not None and without_volatile(held) == without_volatile(record):
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
        found: dict[str, Record] = {}
        if self.evidence.exists():
            for line in self.evidence.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    record = json.loads(line)
                    found[record["case_id"]] = record
        return found

    def read_manifest(self) -> Record | None:
        """The manifest, or None where there is none yet."""
        try:
            held: Record = json.loads(self.manifest.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, json.JSONDecodeError) as error:
            raise UsageError(f"{self.manifest} cannot be read", str(error), "name another --audit-dir") from None
        return held

    def write_manifest(self, manifest: Record) -> None:
        """Replace the manifest."""
        text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n"
        write_atomically(self.manifest, text.encode())

    def keep_image(self, source: Path) -> None:
        """Put a stored image into the run folder: linked where the file system can, else copied."""
        place = self.path / "images" / source.name
        if place.exists() or not source.exists():
            return
        place.parent.mkdir(exist_ok=True)
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)

    def _mend_torn_line(self) -> None:
        """A kill in the middle of a line leaves half of it: end it, so that the next record gets a line of its own."""
        if self.evidence.exists():
            data = self.evidence.read_bytes()
            if data and not data.endswith(b"\n"):
                with self.evidence.open("ab") as stream:
                    stream.write(b"\n")
