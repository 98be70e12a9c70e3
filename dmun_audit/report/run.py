"""Reads a run folder: the manifest and one evidence record per case."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run_folder import fingerprint, read_lines, read_manifest
from dmun_audit.report.formatting import GROUPS

Record = dict[str, Any]

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """One audit as it stands on disk. `cases` keep the order in which they first appear in the evidence file.

    `torn` holds the numbers (from 1) of evidence lines that could not be read, other than the last one. `altered` says
    that the evidence changed after the verdict was drawn from it.
    """

    path: Path
    manifest: dict[str, Any]
    cases: tuple[Record, ...]
    torn: tuple[int, ...] = ()
    altered: bool = False

    @property
    def verdict(self) -> str:
        """The audit's verdict; INCOMPLETE as long as the manifest holds none, or where the evidence is another by now."""
        return "INCOMPLETE" if self.altered else str(self.manifest.get("verdict") or "INCOMPLETE")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is what it is: sentences."""
        if self.altered:
            held = self.manifest.get("verdict")
            return (f"evidence.jsonl is not what the verdict {held} was drawn from: run the audit again, it reuses its images.",)
        return tuple(str(reason) for reason in self.manifest.get("reasons") or ())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know besides the verdict: sentences."""
        said = [str(warning) for warning in self.manifest.get("warnings") or ()]
        if self.torn:
            lines = ", ".join(map(str, self.torn))
            said.append(f"Left out of evidence.jsonl as unreadable: line{'s' if len(self.torn) > 1 else ''} {lines}.")
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
    manifest = _manifest(path)
    lines = list(read_lines(path / "evidence.jsonl"))
    cases = {record["case_id"]: record for _, record in lines if record is not None}
    last = lines[-1][0] if lines else 0
    torn = tuple(place for place, record in lines if record is None and place != last)
    return Run(path, manifest, tuple(cases.values()), torn, altered=_altered(manifest, cases))


def _altered(manifest: Record, cases: dict[str, Record]) -> bool:
    """Whether the evidence is another than the one from which the manifest's verdict was drawn."""
    concluded = manifest.get("evidence")
    return concluded is not None and manifest.get("exit_code") is not None and concluded != fingerprint(cases.values())


def _manifest(path: Path) -> dict[str, Any]:
    remedy = "give the folder that an audit wrote (--audit-dir; by default one under audit-runs/)"
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", "a run folder holds manifest.json and evidence.jsonl", remedy)
    manifest = read_manifest(path / "manifest.json", "run the audit again: it reuses its images")
    if manifest is None:
        raise UsageError(f"{path} is no run folder", "it holds no manifest.json", remedy)
    if manifest.get("format", 1) != 1:
        raise UsageError(
            f"{path / 'manifest.json'} has format {manifest['format']!r}",
            "this version of dmun_audit reads format 1",
            "use the version of dmun_audit that wrote it",
        )
    return manifest
