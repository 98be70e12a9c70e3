"""Methods side by side: audits of several candidates under one plan. It refuses audits whose plans differ, and says in what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.comparison.figures import Figure, figures_of, footnote, in_order
from dmun_audit.comparison.paired_tests import Difference, differences
from dmun_audit.comparison.runs import reason_against
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import JsonObject
from dmun_audit.plan.seeds import DERIVED


@dataclass(frozen=True)
class MethodRow:
    """One run: its name in the table, its folder, its verdict, and its figures by column."""

    name: str
    folder: Path
    verdict: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class MethodTable:
    """Methods side by side. `columns` are in order; `shared` says what the plans have in common."""

    target: str
    shared: Mapping[str, str]
    columns: tuple[str, ...]
    rows: tuple[MethodRow, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> JsonObject:
        """The table as plain values for JSON."""
        return {
            "target": self.target,
            "shared": dict(self.shared),
            "columns": {name: footnote(name) for name in self.columns},
            "methods": [
                {
                    "name": row.name,
                    "folder": str(row.folder),
                    "verdict": row.verdict,
                    "figures": {
                        name: {"value": figure.value, "lower": figure.lower, "upper": figure.upper, "mark": figure.mark}
                        for name, figure in row.figures.items()
                    },
                }
                for row in self.rows
            ],
            "differences": [vars(each) for each in self.differences],
        }


def compare_methods(folders: Sequence[Path]) -> MethodTable:
    """The table of the runs in these folders, in their order. Every run is checked as `dmun-audit report` checks it.

    Raises UsageError for fewer than two runs, for a run that does not hold or was not concluded, and for runs whose plans differ.
    """
    return methods_table([checked_run(folder) for folder in folders])


def methods_table(runs: Sequence[Run]) -> MethodTable:
    """The table of finished audits, in their order. See `compare_methods`."""
    if len(runs) < 2:
        raise UsageError("there is nothing to compare", f"{len(runs)} run was named", "name two runs or more")
    for run in runs:
        if reason := reason_against(run):
            raise UsageError(
                f"{run.path} cannot be compared", reason, "leave it out, or run that audit again: it reuses its images"
            )
    shared = _same_plan(runs)
    names = _names(runs)
    figures = [figures_of(run) for run in runs]
    columns = [name for name in in_order(figures) if any(each[name].value is not None for each in figures if name in each)]
    rows = [
        MethodRow(name, run.path, str(run.verdict), {column: each.get(column, Figure(None)) for column in columns})
        for name, run, each in zip(names, runs, figures, strict=True)
    ]
    return MethodTable(runs[0].manifest.target.name, shared, tuple(columns), tuple(rows), tuple(differences(runs, names)))


# Plans.


def _plan_facts(run: Run) -> dict[str, tuple[str, str]]:
    """What two audits must share so that their figures compare: what decides it, and how it reads."""
    manifest = run.manifest
    base, judge, sampler = manifest.models.get("base", {}), manifest.judge, manifest.sampler
    own = manifest.seeds.get("drawn") == DERIVED
    seed = "drawn from each candidate's weights" if own else str(manifest.seeds.get("audit_seed", ""))
    size = "×".join(str(side) for side in sampler.get("size", []))
    drawn = f"{sampler.get('scheduler', '')}, {sampler.get('steps', '')} steps, guidance {sampler.get('guidance', '')}, size {size}, {sampler.get('dtype', '')}"
    facts = {
        "target": (manifest.target.name, manifest.target.name),
        "policy": (str(manifest.policy.get("digest", "")), str(manifest.policy.get("name", ""))),
        "dossier": (str(manifest.dossier.get("digest", "")), str(manifest.dossier.get("digest", ""))[:12]),
        "base": (str(base.get("weights_digest", "")), str(base.get("reference", ""))),
        "judge": (f"{judge.get('digest', '')} {judge.get('threshold', '')}", str(judge.get("reference", ""))),
        "seed": (seed, seed),
        "sampler": (drawn, drawn),
    }
    for role in ("detector", "second", "composition"):
        if isinstance(other := judge.get(role), dict) and other.get("reference"):
            facts[role] = (f"{other.get('digest', '')} {other['reference']}", str(other["reference"]))
    return facts


def _same_plan(runs: Sequence[Run]) -> dict[str, str]:
    """What the runs share, in words. Raises UsageError if their plans differ."""
    first, *others = map(_plan_facts, runs)
    for run, facts in zip(runs[1:], others, strict=True):
        apart = [name for name in first | facts if first.get(name, ("", ""))[0] != facts.get(name, ("", ""))[0]]
        if apart:
            told = "; ".join(f"{name}: {_told(first, name)} and {_told(facts, name)}" for name in apart)
            raise UsageError(
                f"{runs[0].path} and {run.path} have different plans",
                told,
                "compare audits of one target under one policy, dossier, base, judge and seed; --orderings compares audits of any plans",
            )
    return {name: words for name, (_, words) in first.items()}


def _told(facts: Mapping[str, tuple[str, str]], name: str) -> str:
    digest, words = facts.get(name, ("", ""))
    return "none" if not digest else words if digest == words else f"{words} ({digest[:8]})"


def _names(runs: Sequence[Run]) -> list[str]:
    """A short name for each run: the end of the candidate's reference, with the folder where two are equal."""
    references = [str(run.manifest.models.get("candidate", {}).get("reference", "")) for run in runs]
    short = [
        reference.rstrip("/").rpartition("/")[2].removeprefix("atelier:") or run.path.name
        for reference, run in zip(references, runs, strict=True)
    ]
    folders = [run.path.name for run in runs]
    return [
        name if short.count(name) == 1 else f"{name} ({run.path.name if folders.count(run.path.name) == 1 else run.path})"
        for name, run in zip(short, runs, strict=True)
    ]
