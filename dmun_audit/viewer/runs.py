"""The run folders below a folder, with what a list shows of them. Only manifests are read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from dmun_audit.evidence.manifest import Manifest
from dmun_audit.report.formatting import one_line

LONGEST_MANIFEST = 20_000_000  # bytes
MANIFEST, EVIDENCE = "manifest.json", "evidence.jsonl"


@dataclass(frozen=True)
class ListedRun:
    """One run: an id that is stable while its folder stays where it is, its folder, and the facts of the list as text."""

    id: str
    path: Path
    name: str  # below the folder that is viewed
    verdict: str
    target: str
    candidate: str
    policy: str
    baseline: str  # the earlier candidate that it was held against
    finished: str
    minutes: str


def runs_below(folder: Path) -> list[ListedRun]:
    """The runs below a folder, or the run that it is, the last finished first. A manifest that cannot be read is left out."""
    found = [_listed(path.parent, folder) for path in sorted({*folder.glob(MANIFEST), *folder.rglob(f"*/{MANIFEST}")})]
    return sorted((run for run in found if run is not None), key=lambda run: (run.finished, run.name), reverse=True)


def _listed(path: Path, below: Path) -> ListedRun | None:
    try:
        if not (path / EVIDENCE).is_file() or (path / MANIFEST).stat().st_size > LONGEST_MANIFEST:
            return None
        manifest = Manifest.model_validate(json.loads((path / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    return ListedRun(
        id=hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12],
        path=path,
        name=path.name if path == below else path.relative_to(below).as_posix(),
        verdict=str(manifest.verdict) if manifest.exit_code is not None else "not concluded",
        target=one_line(manifest.target.name),
        candidate=one_line(manifest.reference("candidate")),
        policy=one_line(manifest.policy.get("name", "")),
        baseline=one_line(manifest.baseline.get("reference", "")),
        finished=one_line(manifest.finished or "").replace("T", " ").replace("Z", ""),
        minutes="" if manifest.seconds is None else f"{manifest.seconds / 60:.0f}",
    )
