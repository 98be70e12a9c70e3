"""Writes the folder of one audit: evidence as JSON lines, the manifest, the images that reports show."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.evidence.checksums import write_attestation, write_checksums
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.reading import latest, read_lines, read_manifest
from dmun_audit.evidence.run_lock import LOCK
from dmun_audit.evidence.schema import CaseRecord, JsonObject, without_volatile
from dmun_audit.store.files import is_partial, remove_partials, reported, require_writable, write_atomically

_FINDINGS = ("verdict", "gating", "asked", "images", "calibration", "second", "probe")
"""The fields that the conclusion of an audit does not change. It adjusts p-values and adds waivers."""


class RunFolder:
    """The folder of one audit. It refuses another audit and keeps its content.

    While the audit runs, each case appends a line to evidence.jsonl. The conclusion rewrites the file with one line for each
    case.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.evidence = path / "evidence.jsonl"
        self.manifest = path / "manifest.json"
        self._contents: dict[str, JsonObject] | None = None  # the evidence, read once: no other process writes it

    def open(self, audit_hash: str) -> None:
        """Begin or continue the audit of that hash. Only the process that holds the folder's lock may call it.

        Raises UsageError if the folder holds another audit or other files, and StoreError if it cannot be written.
        """
        self.refuse_other_content(audit_hash)
        require_writable(self.path)
        remove_partials(self.path)
        self._end_torn_line()

    def refuse_other_content(self, audit_hash: str, difference: Callable[[Manifest], str] = lambda manifest: "") -> None:
        """Raise UsageError if the folder holds another audit or other files. Changes nothing.

        `difference` says in what the audit in the folder differs from this one.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--audit-dir {self.path} is a file", "an audit writes a folder", "name a new or empty folder")
        manifest = self.read_manifest()
        if (
            manifest is None
            and self.path.is_dir()
            and not all(file.name == LOCK or is_partial(file) for file in self.path.iterdir())
        ):
            raise UsageError(
                f"--audit-dir {self.path} holds other files",
                "the audit would mix its files with them",
                "name a new or empty folder",
            )
        if manifest is not None and manifest.audit_hash != audit_hash:
            raise UsageError(
                f"--audit-dir {self.path} holds another audit",
                difference(manifest) or f"that audit is of {manifest.target.name or 'another target'!r}",
                "name another folder, or omit the option: each audit then gets a new folder",
            )

    def holds(self, record: CaseRecord) -> bool:
        """Whether the evidence has the same findings on a case already."""
        content, earlier = record.to_json(), self.contents().get(record.case_id)
        return earlier is not None and (
            without_volatile(earlier) == without_volatile(content)
            or all(earlier.get(part) == content.get(part) for part in _FINDINGS)
        )

    def append(self, record: CaseRecord) -> None:
        """Append the record of a case, unless the evidence has the same findings already."""
        if self.holds(record):
            return
        contents, content = self.contents(), record.to_json()
        try:
            with self.evidence.open("a", encoding="utf-8") as stream:
                stream.write(_line(content))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {self.evidence}", error.strerror or str(error), "free space, then repeat") from None
        contents[record.case_id] = content

    def conclude(self, records: Iterable[CaseRecord]) -> None:
        """Rewrite the evidence with one line for each case: `records`, then further cases of earlier runs.

        A record that equals an earlier one in all fields but `volatile` keeps the earlier `volatile`.
        """
        earlier, contents = self.contents(), dict[str, JsonObject]()
        for record in records:
            content, previous = record.to_json(), earlier.get(record.case_id)
            if previous is not None and without_volatile(previous) == without_volatile(content):
                content = previous
            contents[record.case_id] = content
        contents |= {case_id: content for case_id, content in earlier.items() if case_id not in contents}
        text = "".join(map(_line, contents.values()))
        if not self.evidence.exists() or self.evidence.read_text(encoding="utf-8") != text:
            write_atomically(self.evidence, text.encode())
        self._contents = contents

    def contents(self) -> dict[str, JsonObject]:
        """The last line of every case as plain values, by case id."""
        if self._contents is None:
            lines = latest(read_lines(self.evidence))
            self._contents = {case_id: line.content for case_id, line in lines.items() if line.content is not None}
        return self._contents

    def read_manifest(self) -> Manifest | None:
        """The manifest; None if there is none yet."""
        return read_manifest(self.manifest, "name another --audit-dir")

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest."""
        write_atomically(self.manifest, _manifest_bytes(manifest))

    def seal(self, manifest: Manifest, statement: Callable[[bytes], bytes]) -> None:
        """Write SHA256SUMS, the attestation and, last, the manifest: a folder with a verdict is complete.

        `statement` makes the attestation from SHA256SUMS. A signature of an earlier verdict is removed.
        """
        content = _manifest_bytes(manifest)
        write_checksums(self.path, {self.manifest.name: digest_bytes(content)})
        write_attestation(self.path, statement)
        write_atomically(self.manifest, content)

    def keep_image(self, source: Path) -> None:
        """Put a stored image into the run folder, as a hard link if the file system allows it, else as a copy."""
        self._keep(source, self.path / "images" / source.name)

    def keep_find(self, source: Path) -> None:
        """Put what an attack found into the run folder, in the same way."""
        self._keep(source, self.path / "finds" / source.name)

    def _keep(self, source: Path, place: Path) -> None:
        if not source.exists() or (place.exists() and _same_content(place, source)):
            return
        try:
            place.unlink(missing_ok=True)  # somebody has written another file there
            place.parent.mkdir(exist_ok=True)
            os.link(source, place)
        except FileExistsError:
            return
        except OSError:
            write_atomically(place, source.read_bytes())

    def _end_torn_line(self) -> None:
        """End a line that a killed process left incomplete, so that the next record starts a new line."""
        if self.evidence.exists():
            data = self.evidence.read_bytes()
            if data and not data.endswith(b"\n"):
                with reported(self.evidence), self.evidence.open("ab") as stream:
                    stream.write(b"\n")


def as_read_back(manifest: Manifest) -> Manifest:
    """The manifest as a reader of its file gets it: keys are in order. So a report written from it can be written again."""
    return Manifest.model_validate_json(_manifest_bytes(manifest), strict=True)


def _manifest_bytes(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.to_json(), ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n").encode()


def _same_content(one: Path, other: Path) -> bool:
    return os.path.samefile(one, other) or one.read_bytes() == other.read_bytes()


def _line(content: JsonObject) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"
