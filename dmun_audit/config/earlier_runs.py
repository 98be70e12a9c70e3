"""Runs of earlier audits that options name: --regress and --baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dmun_audit._util.errors import FolderOfRuns, UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.config.dossiers import target_names
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.inputs import BASELINE_FILE, REGRESSIONS
from dmun_audit.evidence.run import Run, read_run
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.plan.baseline import kept_baseline
from dmun_audit.plan.regressions import kept_regressions

COPY = "give an unchanged copy of the folder"


def finished_run(path: Path, named: str) -> Run:
    """The finished audit in a run folder. `named` stands for it in errors. Raises UsageError if it is damaged or unfinished."""
    run = _opened(checked_run, path, named)
    if not run.concluded:
        raise UsageError(f"{named} is an audit that has not finished", "its records are not complete", "run it to its end")
    if run.altered:
        raise UsageError(f"{named} is damaged", run.contradictions[0], COPY)
    return run


def _opened(read: Callable[[Path], Run], path: Path, named: str) -> Run:
    """The run in a folder. If it holds runs, and an option names it, the error has the option with one of them."""
    try:
        return read(path)
    except FolderOfRuns as error:
        if not named.startswith("--"):
            raise
        raise error.of(named, f"{named.partition('=')[0]}={error.runs[0]}") from None


def refuse_other_target(named: str, target: str, dossier: Dossier) -> None:
    """Raise UsageError if a run is about another target than the dossier."""
    if fold(target) not in target_names(dossier):
        raise UsageError(
            f"{named} is an audit of {target!r}, and this one is of {dossier.target.name!r}",
            "what is found for one target says nothing about another one",
            "name a run of this target",
        )


def target_of(option: str, text: str) -> str:
    """The target of a run that an option names: a run folder, or a file that a run folder keeps. Raises UsageError if it is neither."""
    path = expanded(text, f"--{option}={text}")
    if path.name == REGRESSIONS:
        return next((each.names[0] for each in kept_regressions(path)), "")
    if path.name == BASELINE_FILE and (kept := kept_baseline(path)):
        return kept.target
    return _opened(read_run, path, f"--{option}={text}").manifest.target.name


def refuse_runs_of_no_target(option: str, runs: Sequence[str], dossiers: Sequence[Dossier]) -> None:
    """Raise UsageError for a run of a target that a session does not have."""
    known = {name for dossier in dossiers for name in target_names(dossier)}
    for text in runs:
        if fold(target_of(option, text)) not in known:
            raise UsageError(
                f"--{option}={text} is an audit of {target_of(option, text)!r}, which is none of the targets",
                "what is found for one target says nothing about another one",
                "name runs of these targets",
            )
