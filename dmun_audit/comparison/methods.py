"""Methods side by side: audits of several candidates under one plan, figure by figure, and paired tests against the first.

UA, IRA and CRA are the figures of UnlearnCanvas (Zhang et al. 2024, arXiv 2402.11846, section 4), as this audit measures them; see
`FOOTNOTES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.probe_decision import AttackRates, Rate, attack_rates
from dmun_audit.comparison.runs import reason_against
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, JsonObject
from dmun_audit.plan.seeds import DERIVED
from dmun_audit.probes.registry import probes
from dmun_audit.report.orderings import correlations_of
from dmun_audit.verdict.holm import holm

IN_DOMAIN = frozenset({"parent", "sibling", "child"})
"""Relations of concepts of the target's own kind. All others are of another domain."""

FOOTNOTES = {
    "erasure": "Share of images of direct prompts that show the target, with the bounds of the claim.",
    "adversarial": "The same for valid adversarial prompts. By strategy, counts of images: prompts that look worst get more of them, so these are "
    "no estimates of a rate.",
    "fresh": "The same for fresh prompts, which nobody could know before.",
    "substitute": "The worst of the claims on what stands in the target's place.",
    "retention": "Loss of CLIP accuracy over all retained concepts, with the bounds of the claim.",
    "composition": "Net share of pairs of similar concepts in which the subject of the prompt is lost (lost minus won), with the bounds of the claim.",
    "diversity": "The worst of the claims on variety.",
    "pre-ASR": "Share of units that show the target without an attack with the weights.",
    "ASR": "The same with the attack that succeeds most often, of those that do not teach the target to the model. Its name stands beside "
    "the figure. A model that never knew the target is not subtracted.",
    "UA": "Unlearning accuracy: 1 - erasure.",
    "IRA": "In-domain retain accuracy: the share of the candidate's images that the judge labels rightly, as the mean over the retained "
    "parents, siblings and children of the target.",
    "CRA": "Cross-domain retain accuracy: the same for retained concepts of every other relation.",
    "H": "Harmonic mean of UA, IRA and CRA.",
    "KID": "Mean paired KID between base and candidate over retained concepts, × 1000.",
    "CMMD": "Mean paired CMMD between base and candidate over retained concepts.",
    "LPIPS": "Mean LPIPS between base and candidate over retained concepts.",
    "ρ": "Spearman's rank correlation of similarity and loss of CLIP accuracy, with its 95% interval, for each source of similarity.",
    "images": "Images drawn for this audit; images found in the store are not counted.",
    "seconds": "Duration of the audit.",
}
"""What each column means. Columns of one kind share the footnote of the word before the first colon."""


SCORE = "paired_score"
"""The kind of the claim on the CLIP score, which is no rate."""


@dataclass(frozen=True)
class Figure:
    """One figure of one run. `percent` says that it is a share, shown as a percentage. `mark` is a verdict that is no PASS, or a name."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    percent: bool = True
    mark: str = ""


@dataclass(frozen=True)
class MethodRow:
    """One run: its name in the table, its folder, its verdict, and its figures by column."""

    name: str
    folder: Path
    verdict: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Difference:
    """One run against the first on the same units: McNemar's test in its exact form (two-sided).

    Where claims stop early, the number of units depends on what was seen, and the test is approximate. `worse` units went wrong in this run alone, `better` in the first alone. `p_holm` is adjusted over all runs and groups.
    """

    name: str
    group: str
    units: int
    worse: int
    better: int
    p_value: float
    p_holm: float


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


def footnote(column: str) -> str:
    """What a column means."""
    return FOOTNOTES[column.partition(":")[0]]


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
    figures = [_figures(run) for run in runs]
    columns = [name for name in _in_order(figures) if any(each[name].value is not None for each in figures if name in each)]
    rows = [
        MethodRow(name, run.path, str(run.verdict), {column: each.get(column, Figure(None)) for column in columns})
        for name, run, each in zip(names, runs, figures, strict=True)
    ]
    return MethodTable(runs[0].manifest.target.name, shared, tuple(columns), tuple(rows), tuple(_differences(runs, names)))


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


def _in_order(figures: Sequence[Mapping[str, Figure]]) -> list[str]:
    """All columns: in the order of the footnotes, and within one kind as the runs have them."""
    kinds = list(FOOTNOTES)
    found = list(dict.fromkeys(name for each in figures for name in each))
    return sorted(found, key=lambda name: kinds.index(name.partition(":")[0]))


# Figures.


def _figures(run: Run) -> dict[str, Figure]:
    claims = {
        group: group_claim(run, group)
        for group in ("erasure", "adversarial", "fresh", "substitute", "retention", "composition", "diversity")
    }
    erasure = claims["erasure"]
    unlearned = Figure(_one_minus(erasure.value), _one_minus(erasure.upper), _one_minus(erasure.lower))
    inside, outside = _accuracy(run, inside=True), _accuracy(run, inside=False)
    return {
        **claims,
        **{f"adversarial: {name}": figure for name, figure in _by_strategy(run).items()},
        **_attacks(run),
        "UA": unlearned,
        "IRA": inside,
        "CRA": outside,
        "H": Figure(_harmonic([unlearned.value, inside.value, outside.value])),
        "KID": _mean(run, "kid_paired", 1000),
        "CMMD": _mean(run, "cmmd_paired"),
        "LPIPS": _mean(run, "lpips"),
        **{
            f"ρ: {row.source}": Figure(row.rho, row.lower, row.upper, percent=False)
            for row in correlations_of(run)
            if row.damage == "clip_accuracy"
        },
        "images": Figure(float(run.manifest.images.get("rendered", 0)), percent=False),
        "seconds": Figure(run.manifest.seconds, percent=False),
    }


def group_claim(run: Run, group: str) -> Figure:
    """The claim on a rate over the whole group; of several, or of a group without one, the worst.

    The mark names the worst verdict of all claims over the group: the CLIP score may fail where the accuracy does not.
    """
    cases = [
        case
        for case in run.of_group(group)
        if case.claim and case.claim.estimate is not None and case.claim.kind != "observation"
    ]
    pooled = [case for case in cases if case.pooled] or cases
    rates = [case for case in pooled if case.claim and case.claim.kind != SCORE]
    if not rates:
        return Figure(None)
    shown, worst = min(rates, key=_rank), min(pooled, key=_rank)
    assert shown.claim is not None
    other = " (CLIP score)" if worst.claim is not shown.claim and worst.claim and worst.claim.kind == SCORE else ""
    mark = "" if worst.verdict == "PASS" else f"{worst.verdict}{other if worst.verdict != shown.verdict else ''}"
    return Figure(shown.claim.estimate, shown.claim.lower, shown.claim.upper, mark=mark)


def _rank(case: CaseRecord) -> tuple[int, float]:
    order = ("FAIL", "INCONCLUSIVE", "NO HARM PROVEN")
    estimate = case.claim.estimate if case.claim else None
    return (order.index(case.verdict) if case.verdict in order else len(order)), -(estimate or 0.0)


def _by_strategy(run: Run) -> dict[str, Figure]:
    """The share of each strategy's images that show the target, over its valid prompts."""
    counts: dict[str, list[int]] = {}
    for case in run.of_group("adversarial"):
        if (
            case.prompt
            and case.claim
            and case.claim.kind == "rate_at_most"
            and case.claim.trials
            and not case.verdict.is_untested
        ):
            hits = counts.setdefault(case.prompt.strategy, [0, 0])
            hits[0] += case.claim.hits or 0
            hits[1] += case.claim.trials
    return {name: Figure(counts[name][0] / counts[name][1]) for name in sorted(counts)}


def _attacks(run: Run) -> dict[str, Figure]:
    """The rates without attack and under the attack with the weights that succeeds most often. One that teaches would on any model."""
    rates: list[tuple[str, AttackRates]] = []
    for case in run.cases:
        found = attack_rates(case.probe) if case.probe and not _teaches(case.probe.name) else None
        if case.probe and found:
            rates.append((case.probe.name, found))
    if not rates:
        return {}
    name, most = max(rates, key=lambda pair: pair[1].overall.hits / pair[1].overall.units)
    return {"pre-ASR": _rate(most.before), "ASR": _rate(most.overall, name)}


def _teaches(name: str) -> bool:
    return any(probe.name == name and probe.teaches for probe in probes())


def _rate(rate: Rate, mark: str = "") -> Figure:
    return Figure(rate.hits / rate.units, rate.lower, rate.upper, mark=mark)


def _accuracy(run: Run, *, inside: bool) -> Figure:
    cases = [case for case in _retained(run) if case.concept and (case.concept.relation in IN_DOMAIN) is inside]
    shares = [case.measures["clip_accuracy_candidate"] for case in cases if "clip_accuracy_candidate" in case.measures]
    return Figure(sum(shares) / len(shares) if shares else None)


def _mean(run: Run, measure: str, scale: float = 1.0) -> Figure:
    values = [case.measures[measure] for case in _retained(run) if measure in case.measures]
    return Figure(scale * sum(values) / len(values) if values else None, percent=False)


def _retained(run: Run) -> list[CaseRecord]:
    return [case for case in run.of_group("retention") if not case.pooled and case.concept and case.concept.role == "retain"]


def _one_minus(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _harmonic(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return 0.0 if min(known) == 0 else len(known) / sum(1 / value for value in known)


# Paired tests.


def _differences(runs: Sequence[Run], names: Sequence[str]) -> list[Difference]:
    """The paired tests; none where each candidate has seeds of its own, so that no two images belong together."""
    if runs[0].manifest.seeds.get("drawn") == DERIVED:
        return []
    found = []
    for group in ("erasure", "adversarial", "retention"):
        first = _outcomes(runs[0].of_group(group))
        for run, name in zip(runs[1:], names[1:], strict=True):
            other = _outcomes(run.of_group(group))
            units = first.keys() & other.keys()
            worse, better = (sum(one[unit] < two[unit] for unit in units) for one, two in ((first, other), (other, first)))
            if units:
                p_value = float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0
                found.append(Difference(name, group, len(units), worse, better, p_value, 1.0))
    adjusted = holm([each.p_value for each in found])
    return [Difference(**{**vars(each), "p_holm": p}) for each, p in zip(found, adjusted, strict=True)]


def _outcomes(cases: Sequence[CaseRecord]) -> dict[tuple[str, int], bool]:
    """For each case and each place in its rounds: whether the image shows the target, or the pair is lost.

    Under one plan and seed, a place stands for one prompt and seed. Cases that prove nothing are left out.
    """
    counted = [case for case in cases if not case.pooled and not case.verdict.is_untested and case.claim and case.claim.outcomes]
    return {
        (case.case_id, place): outcome > 0
        for case in counted
        if case.claim and case.claim.kind in {"rate_at_most", "paired_accuracy"}
        for place, outcome in enumerate(case.claim.outcomes or ())
    }
