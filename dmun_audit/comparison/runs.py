"""The runs that a comparison counts, and those that it leaves out with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.similarity_sources import known_concepts
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.inputs import DOSSIER
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS, CaseRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.reading import read_dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.report.formatting import one_line
from dmun_audit.verdict.vocabulary import AuditVerdict

MANIFEST = "manifest.json"


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """The run folders that these paths name, in their order. A folder that holds run folders stands for all of them, by name.

    Raises UsageError where one run folder is named twice, under whatever spelling or link.
    """
    found = [run for each in folders for run in _runs_of(each)]
    refuse_twice(found)
    return found


def refuse_twice(folders: Sequence[Path]) -> None:
    """Raise UsageError where two of these paths lead to one folder, under whatever spelling or link."""
    places: dict[Path, Path] = {}
    for folder in folders:
        place = folder.resolve()
        if place in places:
            spelled = f"; {one_line(places[place])} is the same folder" if places[place] != folder else ""
            raise UsageError(
                f"{one_line(folder)} is named twice{spelled}", "a run has no difference to itself", "name each run once"
            )
        places[place] = folder


def _runs_of(folder: Path) -> list[Path]:
    if (folder / MANIFEST).exists() or not folder.is_dir():
        return [folder]
    try:
        inside = sorted(each.parent for each in folder.glob(f"*/{MANIFEST}"))
    except OSError as error:
        raise UsageError(f"{one_line(folder)} cannot be read", error.strerror or str(error), "check its permissions") from None
    return inside or [folder]


def digest_of_weights(run: Run) -> str:
    """The digest of the candidate's tensors, or of its files if they were not loaded; empty where the run holds neither."""
    facts = run.manifest.models.get("candidate", {})
    return next((str(facts[name]) for name in ("tensors_digest", "weights_digest", "source_digest") if facts.get(name)), "")


@dataclass(frozen=True)
class CountedRun:
    """A run whose files hold, with its dossier and the records of the concepts that its base model knows."""

    run: Run
    dossier: Dossier
    concepts: tuple[CaseRecord, ...]

    @property
    def target(self) -> str:
        """The target's name, folded: runs of one target damage the same concepts."""
        return fold(self.dossier.target.name)

    @property
    def names(self) -> list[str]:
        """The names of the concepts."""
        return [record.concept.name for record in self.concepts if record.concept]

    @property
    def candidate(self) -> str:
        """What identifies the candidate: the digest of its tensors where it was loaded."""
        reference = self.run.manifest.models.get("candidate", {}).get("reference")
        return digest_of_weights(self.run) or str(reference or self.run.path.resolve())


@dataclass(frozen=True)
class LeftOut:
    """A run that does not count, and the reason in words."""

    folder: Path
    reason: str


def counted_runs(folders: Sequence[Path]) -> tuple[list[CountedRun], list[LeftOut]]:
    """The runs in these folders that count, and the others. Every run is checked as `dmun-audit report` checks it.

    Two runs of the same candidate and target depend on each other: the first one counts.
    Raises UsageError for a folder that is no run folder.
    """
    counted: list[CountedRun] = []
    left_out: list[LeftOut] = []
    for folder in folders:
        run = checked_run(folder)
        reason = reason_against(run)
        if reason:
            left_out.append(LeftOut(folder, reason))
            continue
        found = CountedRun(run, read_dossier(folder / DOSSIER), tuple(known_concepts(run.of_group("retention"))))
        same = next((each for each in counted if (each.target, each.candidate) == (found.target, found.candidate)), None)
        if same is not None:
            left_out.append(LeftOut(folder, f"it is another run of the same model and target as {same.run.path}, which counts"))
        elif not found.concepts:
            left_out.append(LeftOut(folder, "it has no nearby concept that its base model knows"))
        else:
            counted.append(found)
    if not counted:
        raise UsageError(
            f"none of the {len(folders)} runs can be compared"
            if len(folders) > 1
            else f"{one_line(folders[0])} cannot be compared",
            "; ".join(one_line(f"{each.folder}: {each.reason}") for each in left_out),
            "name finished runs, or run these audits again: they reuse their images",
        )
    return counted, left_out


def reason_against(run: Run) -> str:
    """Why a run does not count; empty if it does."""
    if run.altered:
        return f"its files contradict its verdict ({run.contradictions[0].rstrip('.')})"
    if not run.concluded:
        return "it was not concluded"
    if run.manifest.format < FIRST_WITH_CHECKSUMS:
        return "an earlier version wrote it, and it holds no dossier"
    if run.verdict == AuditVerdict.INCOMPLETE:
        return "its verdict is INCOMPLETE" + (f" ({run.reasons[0].rstrip('.')})" if run.reasons else "")
    if stopped := one_line(run.manifest.interruptions.get("stopped") or ""):
        return f"it was stopped early ({stopped})"
    if run.verdict == AuditVerdict.PARTIAL and not run.of_group("ordering"):
        return "only part of its plan ran, and the claim group ordering is not in it"
    return ""
