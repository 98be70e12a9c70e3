"""A run folder that was read: the manifest and one typed record for each case."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.reading import evidence_digest, latest, read_lines, read_manifest
from dmun_audit.evidence.schema import CaseRecord, Manifest
from dmun_audit.verdict.vocabulary import AuditVerdict

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
        path: The folder.
        manifest: The manifest.
        cases: The records, in the order in which they first appear in the evidence file.
        unreadable: Numbers (from 1) of evidence lines without a record. An incomplete last line is not among them.
        altered: Whether the evidence changed after the verdict was decided.
        digest: SHA-256 of the evidence.
    """

    path: Path
    manifest: Manifest
    cases: tuple[CaseRecord, ...]
    unreadable: tuple[int, ...] = ()
    altered: bool = False
    digest: str = ""

    @property
    def verdict(self) -> AuditVerdict:
        """The verdict on the audit; INCOMPLETE if the evidence was altered."""
        return AuditVerdict.INCOMPLETE if self.altered else self.manifest.verdict

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for the verdict, in sentences."""
        if self.altered:
            verdict = self.manifest.verdict
            return (
                f"evidence.jsonl changed after the verdict {verdict} was decided. Run the audit again: it reuses its images.",
            )
        return self.manifest.reasons

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader, in sentences."""
        if not self.unreadable:
            return self.manifest.warnings
        lines = ", ".join(map(str, self.unreadable))
        plural = "s" if len(self.unreadable) > 1 else ""
        return (*self.manifest.warnings, f"Ignored in evidence.jsonl: unreadable line{plural} {lines}.")

    def of_group(self, group: str) -> tuple[CaseRecord, ...]:
        """The cases of one group: single cases first, then the pooled ones."""
        return tuple(sorted((case for case in self.cases if case.group == group), key=lambda case: case.pooled))

    def image(self, key: str) -> Path | None:
        """The file of the image with that key; None if the run folder does not have it."""
        file = self.path / "images" / f"{key}.png"
        return file if _KEY.fullmatch(key) and file.is_file() else None


def read_run(path: Path) -> Run:
    """Read the run folder at `path`. If a case has several evidence lines, the last one counts.

    A process that was killed may leave an incomplete last line, which is ignored. Raises UsageError if `path` is no run folder.
    """
    manifest = _manifest(path)
    lines = read_lines(path / "evidence.jsonl")
    records = {case_id: line.record() for case_id, line in latest(lines).items()}
    last = lines[-1].number if lines else 0
    unreadable = [line.number for line in lines if line.content is None and line.number != last]
    unreadable += [line.number for case_id, line in latest(lines).items() if records[case_id] is None]
    digest = evidence_digest(line.content for line in latest(lines).values() if line.content is not None)
    concluded = manifest.evidence is not None and manifest.exit_code is not None
    return Run(
        path,
        manifest,
        tuple(record for record in records.values() if record is not None),
        tuple(sorted(unreadable)),
        altered=concluded and manifest.evidence != digest,
        digest=digest.digest,
    )


def _manifest(path: Path) -> Manifest:
    remedy = "give the folder that an audit wrote (--audit-dir; by default one under audit-runs/)"
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", "a run folder holds manifest.json and evidence.jsonl", remedy)
    manifest = read_manifest(path / "manifest.json", "run the audit again: it reuses its images")
    if manifest is None:
        raise UsageError(f"{path} is no run folder", "it holds no manifest.json", remedy)
    return manifest
