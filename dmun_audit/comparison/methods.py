"""Methods side by side: audits of several candidates under one plan. It refuses audits whose plans differ, and says in what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.figures import figures_of, footnote, in_order
from dmun_audit.comparison.metric_figures import METRIC, metrics_apart
from dmun_audit.comparison.paired_tests import Difference, differences
from dmun_audit.comparison.runs import digest_of_weights, reason_against, refuse_twice, run_folders
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.messages import enumerated
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import JsonObject
from dmun_audit.plan.seeds import DERIVED
from dmun_audit.report.formatting import one_line


@dataclass(frozen=True)
class MethodRow:
    """One run: its name in the table, its folder, its verdict, and its figures by column."""

    name: str
    folder: Path
    verdict: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class MethodTable:
    """Methods side by side.

    Attributes:
        target: The target of all runs.
        shared: What the plans have in common.
        columns: The columns in order.
        rows: One row for each run, in the order given.
        reference: The name of the row against which paired tests compare the others.
        differences: The paired tests.
        remarks: What else a reader must know, in sentences.
    """

    target: str
    shared: Mapping[str, str]
    columns: tuple[str, ...]
    rows: tuple[MethodRow, ...]
    reference: str
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...] = ()

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
                        name: {
                            "value": figure.value,
                            "lower": figure.lower,
                            "upper": figure.upper,
                            "mark": figure.mark,
                            "pairs": figure.pairs,
                        }
                        for name, figure in row.figures.items()
                    },
                }
                for row in self.rows
            ],
            "reference": self.reference,
            "differences": [vars(each) for each in self.differences],
            "remarks": list(self.remarks),
        }


def compare_methods(folders: Sequence[Path], reference: str | Path | None = None) -> MethodTable:
    """The table of the runs in these folders, in their order. Every run is checked as `dmun-audit report` checks it.

    A folder that holds run folders stands for all of them that count; the table says which it leaves out, and why. `reference` names the run against which paired tests compare the others, by
    its name in the table or by its folder; the first run by default.
    Raises UsageError for fewer than two runs, for one that is named twice, for a run that does not hold or was not concluded, for runs
    whose plans differ, and for a reference that is none of the runs.
    """
    runs = [checked_run(folder) for folder in run_folders(folders)]
    named = {folder.resolve() for folder in folders}
    left_out = {run.path: reason for run in runs if run.path.resolve() not in named and (reason := reason_against(run))}
    told = [f"{one_line(path.name)} is left out: {one_line(reason)}." for path, reason in left_out.items()]
    return methods_table([run for run in runs if run.path not in left_out], reference, told)


def methods_table(runs: Sequence[Run], reference: str | Path | None = None, remarks: Sequence[str] = ()) -> MethodTable:
    """The table of finished audits, in their order, with further remarks. See `compare_methods`."""
    refuse_twice([run.path for run in runs])
    if len(runs) < 2:
        only = f"{one_line(runs[0].path)} is the only run" if runs else "no run was named"
        raise UsageError("there is nothing to compare", only, "name two runs or more")
    for run in runs:
        if reason := reason_against(run):
            raise UsageError(
                f"{one_line(run.path)} cannot be compared",
                one_line(reason),
                "leave it out, or run that audit again: it reuses its images",
            )
    shared = _same_plan(runs)
    names = _names(runs)
    place = _place(reference, runs, names)
    apart = metrics_apart(runs)
    figures = [figures_of(run, apart) for run in runs]
    columns = [name for name in in_order(figures) if any(each[name].value is not None for each in figures if name in each)]
    rows = [
        MethodRow(name, run.path, str(run.verdict), {column: each.get(column, Figure(None)) for column in columns})
        for name, run, each in zip(names, runs, figures, strict=True)
    ]
    return MethodTable(
        runs[0].manifest.target.name,
        shared,
        tuple(columns),
        tuple(rows),
        names[place],
        tuple(differences(runs, names, place)),
        (*remarks, *_remarks(runs, rows, columns)),
    )


def _place(reference: str | Path | None, runs: Sequence[Run], names: Sequence[str]) -> int:
    """The place of the run that is the reference. Raises UsageError if it is none of the runs."""
    if reference is None:
        return 0
    if str(reference) in names:
        return names.index(str(reference))
    wanted = expanded(reference).resolve()
    for place, run in enumerate(runs):
        if run.path.resolve() == wanted:
            return place
    raise UsageError(
        f"the reference {one_line(reference)} is none of the runs",
        f"they are {', '.join(map(one_line, names))}",
        "name one of them by its name in the table or by its folder",
    )


# Remarks.


def _remarks(runs: Sequence[Run], rows: Sequence[MethodRow], columns: Sequence[str]) -> list[str]:
    return [*_same_weights(runs, rows), *_from_the_store(runs), *_metric_remarks(runs, columns)]


def _same_weights(runs: Sequence[Run], rows: Sequence[MethodRow]) -> list[str]:
    """Says which runs audit the same weights."""
    by_digest: dict[str, list[str]] = {}
    for run, row in zip(runs, rows, strict=True):
        if digest := digest_of_weights(run):
            by_digest.setdefault(digest, []).append(row.name)
    return [
        f"{enumerated([one_line(name) for name in names])} have the same weights."
        for names in by_digest.values()
        if len(names) > 1
    ]


def _from_the_store(runs: Sequence[Run]) -> list[str]:
    """Says where images came from the store, so that `seconds` are no cost of an audit."""
    stored = [run for run in runs if run.manifest.images.get("reused")]
    if not stored:
        return []
    told = f"{len(stored)} of {len(runs)} audits took images from the store, which takes no time."
    if not any(run.manifest.images.get("rendered") for run in runs):
        return [f"{told} None drew an image, so their seconds are not shown."]
    return [f"{told} Seconds are the cost of the images drawn, not of an audit without a store."]


def _metric_remarks(runs: Sequence[Run], columns: Sequence[str]) -> list[str]:
    """Says where metrics have no column."""
    if any(run.manifest.metrics for run in runs) and not any(name.startswith(f"{METRIC}:") for name in columns):
        return ["Metrics have no column: this policy has no plain prompts, so they were measured on single concepts alone."]
    return []


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
    first, *others = facts_of_all = [_plan_facts(run) for run in runs]
    for run, facts in zip(runs[1:], others, strict=True):
        apart = [name for name in first | facts if first.get(name, ("", ""))[0] != facts.get(name, ("", ""))[0]]
        if apart:
            told = "; ".join(f"{name}: {_told(first, name)} and {_told(facts, name)}" for name in apart)
            raise UsageError(
                f"{one_line(runs[0].path)} and {one_line(run.path)} have different plans",
                told,
                f"compare audits of one plan{_with_one_plan(runs, facts_of_all)}; --orderings compares audits of any plans",
            )
    return {name: words for name, (_, words) in first.items()}


def _with_one_plan(runs: Sequence[Run], facts: Sequence[Mapping[str, tuple[str, str]]]) -> str:
    """The most runs that share a plan, in brackets; empty where no two do."""
    by_plan: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run, each in zip(runs, facts, strict=True):
        by_plan.setdefault(tuple((name, identity) for name, (identity, _) in each.items()), []).append(one_line(run.path))
    largest = max(by_plan.values(), key=len)
    return f", such as {', '.join(largest)}" if len(largest) > 1 else ""


def _told(facts: Mapping[str, tuple[str, str]], name: str) -> str:
    digest, words = facts.get(name, ("", ""))
    return one_line("none" if not digest else words if digest == words else f"{words} ({digest[:8]})")


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
