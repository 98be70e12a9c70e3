"""A run folder that was read: the manifest and one typed record for each case."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import FolderOfRuns, UsageError
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.reading import (
    digest_before_format_3,
    digest_of_lines,
    last_lines,
    latest,
    line_digest,
    read_lines,
    read_manifest,
)
from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS, CaseRecord
from dmun_audit.verdict.vocabulary import AuditVerdict

MOST_CASES = 10_000
"""Cases that are read. The plan of a release has about 600."""

EVIDENCE = "evidence.jsonl"
"""The file of the records."""

MANIFEST = "manifest.json"

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
        path: The folder.
        manifest: The manifest.
        cases: The records, in the order in which they first appear in the evidence file.
        unreadable: Numbers (from 1) of evidence lines without a record. An incomplete last line is not among them.
        contradictions: Sentences that say where the files of the folder contradict the verdict; empty if they do not.
        remarks: Further warnings on the files of the folder.
        digest: SHA-256 of the evidence.
        pictures: Whether `image` gives pictures: not if the audit, or a command on the run, has --no-images.
    """

    path: Path
    manifest: Manifest
    cases: tuple[CaseRecord, ...]
    unreadable: tuple[int, ...] = ()
    contradictions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    digest: str = ""
    pictures: bool = True

    @property
    def altered(self) -> bool:
        """Whether files of the folder contradict the verdict."""
        return bool(self.contradictions)

    @property
    def concluded(self) -> bool:
        """Whether the audit was concluded: a killed run has no verdict."""
        return self.manifest.exit_code is not None

    @property
    def verdict(self) -> AuditVerdict:
        """The verdict on the audit; INCOMPLETE if it was not concluded, or if files of the folder contradict it."""
        return AuditVerdict.INCOMPLETE if self.altered or not self.concluded else self.manifest.verdict

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for the verdict, in sentences."""
        if self.altered:
            verdict = self.manifest.verdict
            return (
                *self.contradictions,
                f"So the verdict {verdict} of the manifest does not hold. Run the audit again: it reuses its images.",
            )
        return self.manifest.reasons

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader, in sentences."""
        warnings = (*self.manifest.warnings, *self.remarks)
        if not self.unreadable:
            return warnings
        lines = ", ".join(map(str, self.unreadable))
        plural = "s" if len(self.unreadable) > 1 else ""
        return (*warnings, f"Ignored in evidence.jsonl: unreadable line{plural} {lines}.")

    def of_group(self, group: str) -> tuple[CaseRecord, ...]:
        """The cases of one group: single cases first, then the pooled ones."""
        return tuple(sorted((case for case in self.cases if case.group == group), key=lambda case: case.pooled))

    def image(self, key: str) -> Path | None:
        """The file of the image with that key; None if the run folder does not have it."""
        if not self.pictures:
            return None
        file = self.path / "images" / f"{key}.png"
        return file if _KEY.fullmatch(key) and file.is_file() else None


def read_run(path: Path, manifest: Manifest | None = None) -> Run:
    """Read the run folder at `path`. If a case has several evidence lines, the last one counts.

    `manifest` is given if it is not written yet. A process that was killed may leave an incomplete last line, which is ignored.
    Raises UsageError if `path` is no run folder.
    """
    manifest = manifest or _manifest(path)
    places, unreadable, last = last_lines(path / EVIDENCE)
    left_out = len(places) - MOST_CASES
    cases: dict[str, CaseRecord | None] = {}
    digests: dict[str, str] = {}
    numbers = set(list(places.values())[:MOST_CASES])
    for line in read_lines(path / EVIDENCE, only=numbers):
        if line.content is not None:
            cases[line.content["case_id"]], digests[line.content["case_id"]] = line.record(), line_digest(line.content)
    records = {case_id: record for case_id in places if (record := cases.get(case_id)) is not None}
    unreadable = [number for number in unreadable if number != last]
    unreadable += [places[case_id] for case_id, record in cases.items() if record is None]
    digest = digest_of_lines(digests)
    decided_on = manifest.evidence if manifest.exit_code is not None else None
    if decided_on is not None and manifest.format < FIRST_WITH_CHECKSUMS:
        contents = latest(read_lines(path / EVIDENCE))
        digest = digest_before_format_3(line.content for line in contents.values() if line.content is not None)
    contradictions = []
    if decided_on is not None and decided_on != digest:
        contradictions.append(f"evidence.jsonl changed after the verdict {manifest.verdict} was decided.")
    if left_out > 0:
        contradictions.append(
            f"evidence.jsonl holds {len(places):,} cases, more than any plan: the last {left_out:,} were not read."
        )
    return Run(
        path,
        manifest,
        tuple(records.values()),
        tuple(sorted(unreadable)),
        tuple(contradictions),
        digest=digest.digest,
        pictures=not _without_pictures(manifest),
    )


def _without_pictures(manifest: Manifest) -> bool:
    options = manifest.command.get("options", {})
    return isinstance(options, dict) and bool(options.get("no_images"))


def _manifest(path: Path) -> Manifest:
    remedy = "give the folder that an audit wrote (--audit-dir; by default one under audit-runs/)"
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", "a run folder holds manifest.json and evidence.jsonl", remedy)
    manifest = read_manifest(path / MANIFEST, "run the audit again: it reuses its images")
    if manifest is None:
        if runs := _runs_in(path):
            raise FolderOfRuns(path, runs)
        raise UsageError(f"{path} is no run folder", "it holds no manifest.json", remedy)
    return manifest


def _runs_in(path: Path) -> tuple[Path, ...]:
    """The run folders in a folder, the one that was written last first."""
    manifests = {file: file.stat().st_mtime for file in path.glob(f"*/{MANIFEST}") if file.is_file()}
    return tuple(file.parent for file in sorted(manifests, key=lambda file: (-manifests[file], file)))
