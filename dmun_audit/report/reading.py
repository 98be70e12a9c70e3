"""Reads a run folder: the manifest and one evidence record per case."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmun_audit.errors import UsageError
from dmun_audit.report.words import GROUPS

Record = dict[str, Any]

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """One audit as it stands on disk. `cases` keep the order in which they first appear in the evidence file.

    `torn` holds the numbers (from 1) of evidence lines that could not be read, other than the last one.
    """

    path: Path
    manifest: dict[str, Any]
    cases: tuple[Record, ...]
    torn: tuple[int, ...] = ()

    @property
    def verdict(self) -> str:
        """The audit's verdict; INCOMPLETE as long as the manifest holds none."""
        return str(self.manifest.get("verdict") or "INCOMPLETE")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is what it is: sentences."""
        return tuple(str(reason) for reason in self.manifest.get("reasons") or ())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know besides the verdict: sentences."""
        said = [str(warning) for warning in self.manifest.get("warnings") or ()]
        if self.torn:
            lines = ", ".join(map(str, self.torn))
            said.append(f"Unreadable lines of evidence.jsonl were left out: {lines}.")
        return tuple(said)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have cases, in the order of an audit."""
        present = list(dict.fromkeys(str(case.get("group")) for case in self.cases))
        return tuple(sorted(present, key=lambda group: GROUPS.index(group) if group in GROUPS else len(GROUPS)))

    def of_group(self, group: str) -> tuple[Record, ...]:
        """The cases of one group: those run one by one first, then the pooled ones."""
        cases = [case for case in self.cases if case.get("group") == group]
        return tuple(sorted(cases, key=lambda case: bool(case.get("pooled"))))

    def image(self, key: object) -> Path | None:
        """The file of the image with that key, or None where the run folder does not hold it."""
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            return None
        file = self.path / "images" / f"{key}.png"
        return file if file.is_file() else None


def read_run(path: Path) -> Run:
    """Read the run folder at `path`. A later evidence line of a case supersedes an earlier one.

    The last line may be torn by a kill and is then left out. Raises UsageError where the folder is none of ours.
    """
    manifest = _read_manifest(path)
    cases: dict[str, Record] = {}
    unread = []
    lines = _evidence_lines(path)
    for place, line in lines:
        record = _parsed(line)
        if record is None:
            unread.append(place)
        else:
            cases[record["case_id"]] = record
    last = lines[-1][0] if lines else 0
    return Run(path, manifest, tuple(cases.values()), tuple(place for place in unread if place != last))


def _read_manifest(path: Path) -> dict[str, Any]:
    remedy = "give the folder that an audit wrote (--audit-dir; by default one under audit-runs/)"
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", "a run folder holds manifest.json and evidence.jsonl", remedy)
    file = path / "manifest.json"
    if not file.is_file():
        raise UsageError(f"{path} is no run folder", "it holds no manifest.json", remedy)
    try:
        manifest = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read", str(error), "run the audit again: it reuses its images") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{file} is no manifest", "it holds no JSON object", remedy)
    if manifest.get("format", 1) != 1:
        raise UsageError(
            f"{file} has format {manifest['format']!r}",
            "this version of dmun_audit reads format 1",
            "use the version of dmun_audit that wrote it",
        )
    return manifest


def _evidence_lines(path: Path) -> list[tuple[int, bytes]]:
    file = path / "evidence.jsonl"
    content: Iterable[bytes] = file.read_bytes().split(b"\n") if file.is_file() else ()
    return [(place, line) for place, line in enumerate(content, start=1) if line.strip()]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("case_id"), str) else None
