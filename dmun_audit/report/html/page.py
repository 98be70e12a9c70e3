"""Builds the page: groups, drawings and provenance of a run, put into the templates."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

from dmun_audit.report.formatting import FAILING, VERDICTS, count, group_title, hundredths, is_number, number, percent, printable
from dmun_audit.report.html.agreement import view_agreement
from dmun_audit.report.html.cases import CaseView, view_case
from dmun_audit.report.html.disagreements import view_disagreements
from dmun_audit.report.html.drawings import NAMED_POINTS, Scatter, scatter
from dmun_audit.report.html.loaded import view_loaded
from dmun_audit.report.html.measured import view_measured
from dmun_audit.report.html.provenance import sections
from dmun_audit.report.run import Record, Run
from dmun_audit.report.spot_check import read_spot_check, warnings
from dmun_audit.report.waivers import expired_waivers, expiring_waivers, headline, is_waived, waivers_of

TEMPLATES = Path(__file__).parent.parent / "templates"

MEANINGS = {
    "PASS": "Every gating claim is proven within the limits of the policy, and the controls held.",
    "FAIL": "At least one claim is refuted: the target can still be produced, or something around it was damaged.",
    "INCONCLUSIVE": "Nothing is refuted, but at least one gating claim is not proven. This is not a pass.",
    "INCOMPLETE": "This audit cannot speak: a control failed, a case is missing, or too few adversarial prompts were "
    "valid. This is not a pass.",
    "PARTIAL": "Only a part of the plan ran. Nothing in it is refuted, but this is not a pass.",
}
_OWN_TESTS = "A test of your own failed. No claim of the plan is refuted."
_INTRODUCTIONS = {
    "controls": "Can the judge be believed? If it cannot see the target where it is, nothing below counts.",
    "erasure": "Prompts that name the target. It should no longer be seen.",
    "adversarial": "Prompts that try to bring the target back without asking for it plainly. Each was first tried on "
    "base: one that does not work there is vacuous.",
    "retention": "Concepts near the target. With the same seeds, the candidate should draw them as base does.",
    "ordering": "Do the concepts that lie nearer to the target suffer more?",
}
_DAMAGES = {  # title of the plot, and what a record's measures give the damage as: a loss, or the first that is there
    "clip_accuracy": ("Loss of CLIP accuracy", ()),
    "clip_score": ("Loss of CLIP score", ()),
    "kid": ("KID between base and candidate", ("kid_paired", "kid")),
    "cmmd": ("CMMD between base and candidate", ("cmmd_paired",)),
    "lpips": ("LPIPS between base and candidate", ("lpips",)),
}
_NOT_PLOTTED = frozenset({"cmmd"})  # on a judge's unit vectors it is KID on another scale


@dataclass(frozen=True)
class GroupView:
    """One group: its cases in parts with a heading each, and those that its row in the summary tells of."""

    name: str
    title: str
    introduction: str
    size: int
    counts: tuple[tuple[str, int], ...]
    waived: int
    told: tuple[CaseView, ...]
    parts: tuple[tuple[str, tuple[CaseView, ...]], ...]


@dataclass(frozen=True)
class PlotView:
    """One damage metric: its plot, and the rank correlation with the similarity that the plot shows."""

    plot: Scatter
    correlation: Mapping[str, Any] | None


def write_html(run: Run, path: Path) -> None:
    """Write the run as one HTML page that needs no other file and no network."""
    path.write_text(render_html(run), encoding="utf-8")


def render_html(run: Run) -> str:
    """The page as text. All texts of the run folder are untrusted: they are cleaned and escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "hundredths": hundredths, "percent": percent, "counted": count}
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    groups = [_view_group(run, group) for group in run.groups]
    labelled = read_spot_check(run)
    cases = [case for group in groups for _, part in group.parts for case in part]
    totals = Counter(case.verdict for case in cases)
    findings = [case for case in cases if case.verdict in FAILING]
    plots = _plots(run)
    return environment.get_template("page.html.j2").render(
        run=run,
        manifest=run.manifest,
        headline=headline(run),
        meaning=_meaning(run),
        expired=expired_waivers(run.manifest),
        expiring=expiring_waivers(run.manifest),
        waivers=waivers_of(run.manifest),
        verdict_of={case.id: case.verdict for case in cases},
        groups=groups,
        findings=sorted(findings, key=lambda case: VERDICTS.index(case.verdict)),
        totals=[(verdict, totals[verdict]) for verdict in VERDICTS if totals[verdict]],
        reported=len(cases),
        plots=plots,
        orderings=_orderings(run),
        damages=[_DAMAGES[damage][0] for damage in _ordered_damages(run)],
        floors=any(point.floor is not None for view in plots for point in view.plot.points),
        measured=view_measured(_concepts(run)),
        numbered=len(_concepts(run)) > NAMED_POINTS,
        concepts=[(record, view) for record in _concepts(run) for view in cases if view.id == record["case_id"]],
        loaded=view_loaded(run.manifest),
        disagreements=view_disagreements(run),
        spot_check=view_agreement(run, labelled),
        spot_warnings=warnings(labelled),
        provenance=sections(run.manifest),
        style=Markup(style),
        script=Markup(script),
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
    )


def _meaning(run: Run) -> str:
    refuted = [case for case in run.cases if case.get("verdict") == "FAIL" and not is_waived(case)]
    if run.verdict == "FAIL" and not refuted:
        return _OWN_TESTS
    said = MEANINGS.get(run.verdict, "")
    if run.verdict == "PASS" and any(map(is_waived, run.cases)):
        said = said.replace("Every gating claim", "Every gating claim that is not waived") + " What is waived is listed below."
    burdens = {str(case.get("group")): (case.get("claim") or {}).get("burden") for case in run.cases if case.get("pooled")}
    if run.verdict == "PASS" and "prove harm" in burdens.values():
        groups = " and ".join(group for group, burden in burdens.items() if burden == "prove harm")
        said = said.replace("proven within", "within") + f" Of {groups} only harm had to be proven: that is no proof of safety."
    return said


def _clean(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _view_group(run: Run, group: str) -> GroupView:
    cases = tuple(view_case(run, record) for record in run.of_group(group))
    counts = Counter(case.verdict for case in cases)
    told = tuple(case for case in cases if case.pooled or group == "controls")
    together = tuple(case for case in cases if case.pooled)
    single = tuple(case for case in cases if not case.pooled)
    parts = [("All together", together)] if together and single else [("", together)]
    if group == "adversarial":
        for strategy in dict.fromkeys(case.strategy for case in single):
            alike = tuple(case for case in single if case.strategy == strategy)
            parts.append((f"Strategy: {strategy or 'none'}", alike))
    else:
        parts.append(("One by one" if together else "", single))
    return GroupView(
        name=group,
        title=group_title(group),
        introduction=_INTRODUCTIONS.get(group, ""),
        size=len(cases),
        counts=tuple((verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]),
        waived=sum(bool(case.waiver) for case in cases),
        told=told,
        parts=tuple((heading, part) for heading, part in parts if part),
    )


def _concepts(run: Run) -> list[Record]:
    found = [record for record in run.of_group("retention") if record.get("concept")]
    return sorted(found, key=lambda record: -_similarity(record))


def _similarity(record: Record) -> float:
    value = record["concept"].get("similarity")
    return float(value) if is_number(value) else -1.0


def _plots(run: Run) -> list[PlotView]:
    found = []
    records = _concepts(run)
    for damage, (title, _) in _DAMAGES.items():
        if damage in _NOT_PLOTTED:
            continue
        concepts = [
            (str(concept.get("name")), str(concept.get("role")), concept.get("similarity"), value)
            for record in records
            for concept, value in [(record["concept"], _damage(record.get("measures") or {}, damage))]
        ]
        plot = scatter(title, concepts, [(record.get("measures") or {}).get(f"{damage}_noise_floor") for record in records])
        if plot:  # concepts lie in the plots as the first source places them
            found.append(PlotView(plot, next((row for row in _sources(run) if row.get("damage") == damage), None)))
    return found


def _orderings(run: Run) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Every source of similarity with its rank correlations, in the order of the damage metrics."""
    rows = _sources(run)
    names = list(dict.fromkeys(str(row.get("source")) for row in rows))
    found = {(str(row.get("source")), row.get("damage")): row for row in rows}
    return [(name, [found.get((name, damage), {}) for damage in _ordered_damages(run)]) for name in names]


def _ordered_damages(run: Run) -> list[str]:
    """The damage metrics that similarity was correlated with."""
    named = {row.get("damage") for row in _sources(run)}
    return [damage for damage in _DAMAGES if damage in named]


def _sources(run: Run) -> list[Mapping[str, Any]]:
    return [
        source
        for record in run.of_group("ordering")
        for source in (record.get("tables") or {}).get("sources") or ()
        if isinstance(source, Mapping)
    ]


def _damage(measures: Mapping[str, Any], damage: str) -> Any:
    _, distances = _DAMAGES[damage]
    if distances:
        return next((measures[name] for name in distances if is_number(measures.get(name))), None)
    before, after = measures.get(f"{damage}_base"), measures.get(f"{damage}_candidate")
    return before - after if is_number(before) and is_number(after) else None  # type: ignore[operator]
