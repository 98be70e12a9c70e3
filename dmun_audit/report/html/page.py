"""Builds the page from a run and the templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

from dmun_audit.claim_groups.registry import claim_groups
from dmun_audit.evidence.ordering_messages import CAVEAT, in_concepts
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, Correlation
from dmun_audit.report.content_security import source_hash
from dmun_audit.report.formatting import (
    VERDICTS,
    count,
    group_title,
    hundredths,
    number,
    percent,
    printable,
    report_verdict,
    thousandths,
)
from dmun_audit.report.html.agreement import view_agreement
from dmun_audit.report.html.banner import view_banner
from dmun_audit.report.html.cases import CaseView, view_case
from dmun_audit.report.html.disagreements import view_disagreements
from dmun_audit.report.html.drawings import Scatter, scatter
from dmun_audit.report.html.first_screen import view_first_screen
from dmun_audit.report.html.loaded import view_loaded
from dmun_audit.report.html.measured import view_measured
from dmun_audit.report.html.named_metrics import view_named_metrics
from dmun_audit.report.html.probes import view_probes
from dmun_audit.report.html.provenance import DIGESTS, sections
from dmun_audit.report.orderings import correlations_of, view_orderings
from dmun_audit.report.scope import alerts, scope_lines, thin_lines
from dmun_audit.report.spot_check import read_spot_check, warnings
from dmun_audit.report.standing import attempt_lines, attempt_sentence, release_lines, seed_lines, weaker_than_release
from dmun_audit.report.text import cases_in_full, groups_of
from dmun_audit.report.waivers import expired_waivers, expiring_waivers, headline
from dmun_audit.store.files import write_atomically

TEMPLATES = Path(__file__).parent.parent / "templates"
STYLES = ("page.css", "first_screen.css")

_DAMAGES = {  # title of the plot, and the measures that give the damage, the first available one; none: base minus candidate
    "clip_accuracy": ("Loss of CLIP accuracy", ()),
    "clip_score": ("Loss of CLIP score", ()),
    "kid": ("KID between base and candidate", ("kid_paired", "kid")),
    "cmmd": ("CMMD between base and candidate", ("cmmd_paired",)),
    "lpips": ("LPIPS between base and candidate", ("lpips",)),
}
_NOT_PLOTTED = frozenset({"cmmd"})  # on a judge's unit vectors it is KID on another scale


@dataclass(frozen=True)
class GroupView:
    """One group: the cases of its row in the summary, and all its cases under headings."""

    name: str
    title: str
    introduction: str
    size: int
    counts: tuple[tuple[str, int], ...]
    waived: int
    summary: tuple[CaseView, ...]
    parts: tuple[tuple[str, tuple[CaseView, ...]], ...]


@dataclass(frozen=True)
class PlotView:
    """One measure of damage: its plot, and its rank correlation with similarity."""

    plot: Scatter
    correlation: Correlation | None


@cache
def environment() -> Environment:
    """Compiles the templates of pages, each once, and fills them in. Texts are cleaned and escaped, and numbers rounded."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "number": number,
        "hundredths": hundredths,
        "thousandths": thousandths,
        "percent": percent,
        "counted": count,
        "in_concepts": in_concepts,
    }
    return templates


def write_html(run: Run, path: Path) -> None:
    """Write the run as one HTML page that needs no other file and no network."""
    write_atomically(path, render_html(run).encode())


def render_html(run: Run) -> str:
    """The page as text. All texts of the run folder are untrusted: they are cleaned and escaped."""
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in STYLES)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    shown = cases_in_full(run)
    groups = [_view_group(run, group, shown) for group in groups_of(run)]
    labelled = read_spot_check(run)
    cases = [case for group in groups for _, part in group.parts for case in part]
    totals = Counter(map(report_verdict, run.cases))
    first = view_first_screen(run, {case.id: case for case in cases})
    plots, orderings = _plots(run), view_orderings(run, list(_DAMAGES))
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            manifest=run.manifest,
            headline=headline(run),
            banner=view_banner(run),
            scope=scope_lines(run),
            thin=thin_lines(run),
            alerts=alerts(run),
            expired=expired_waivers(run.manifest),
            expiring=expiring_waivers(run.manifest),
            waivers=run.manifest.waivers,
            release=release_lines(run),
            weaker=weaker_than_release(run.manifest),
            seeds=seed_lines(run),
            attempt=attempt_sentence(run.manifest),
            other_attempts=attempt_lines(run.manifest),
            digests=DIGESTS,
            verdict_of={case.id: case.verdict for case in cases},
            groups=groups,
            first=first,
            choices=_choices(cases, [(group.name, group.title) for group in groups]),
            totals=[(verdict, totals[verdict]) for verdict in VERDICTS if totals[verdict]],
            reported=len(run.cases),
            left_out=len(run.cases) - len(cases),
            plots=plots,
            orderings=orderings,
            damage_titles={damage: title for damage, (title, _) in _DAMAGES.items()},
            ordering_caveat=CAVEAT,
            floors=any(point.floor is not None for view in plots for point in view.plot.points),
            measured_tables=[
                table
                for table in (view_measured(_concepts(run)), view_named_metrics(_concepts(run), run.manifest.metrics))
                if table
            ],
            unnamed=any(point.label is None for view in plots for point in view.plot.points),
            concepts=[(record, view) for record in _concepts(run) for view in cases if view.id == record.case_id],
            loaded=view_loaded(run.manifest),
            probes=view_probes(run),
            disagreements=view_disagreements(run),
            spot_check=view_agreement(run, labelled),
            spot_warnings=warnings(labelled),
            provenance=sections(run.manifest),
            style=Markup(style),
            script=Markup(script),
            style_hash=source_hash(style),
            script_hash=source_hash(script),
        )
    )


def _choices(cases: Sequence[CaseView], groups: Sequence[tuple[str, str]]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The fields by which cases can be chosen: their name, their label, and their values with their words."""
    fields = [
        ("group", "every group", list(groups)),
        ("kind", "every strategy and relation", sorted({(case.kind, case.kind) for case in cases if case.kind})),
        ("language", "every language", sorted({(case.language, case.language) for case in cases if case.language})),
    ]
    return [field for field in fields if len(field[2]) > 1]


def _clean(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _view_group(run: Run, group: str, shown: Container[str]) -> GroupView:
    records = run.of_group(group)
    cases = tuple(view_case(run, record) for record in records if record.case_id in shown)
    counts = Counter(report_verdict(record) for record in records)
    summary = tuple(case for case in cases if case.pooled or group == "controls")
    pooled = tuple(case for case in cases if case.pooled)
    single = tuple(case for case in cases if not case.pooled)
    parts = [("Whole group", pooled)] if pooled and single else [("", pooled)]
    claim_group = next((each for each in claim_groups() if each.name == group), None)
    headings = {record.case_id: claim_group.heading_of(record) if claim_group else "" for record in records}
    for heading in dict.fromkeys(headings[case.id] for case in single):
        members = tuple(case for case in single if headings[case.id] == heading)
        parts.append((heading or ("Single cases" if pooled else ""), members))
    return GroupView(
        name=group,
        title=(claim_group.heading if claim_group else "") or group_title(group),
        introduction=claim_group.introduction if claim_group else "",
        size=len(records),
        counts=tuple((verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]),
        waived=sum(record.is_waived for record in records),
        summary=summary,
        parts=tuple((heading, part) for heading, part in parts if part),
    )


def _concepts(run: Run) -> list[CaseRecord]:
    concepts = [record for record in run.of_group("retention") if record.concept]
    return sorted(concepts, key=lambda record: -_similarity(record))


def _similarity(record: CaseRecord) -> float:
    similarity = record.concept.similarity if record.concept else None
    return -1.0 if similarity is None else similarity


def _plots(run: Run) -> list[PlotView]:
    plots = []
    records = _concepts(run)
    for damage, (title, _) in _DAMAGES.items():
        if damage in _NOT_PLOTTED:
            continue
        concepts = [
            (record.concept.name, record.concept.role, record.concept.similarity, _damage(record.measures, damage))
            for record in records
            if record.concept
        ]
        plot = scatter(title, concepts, [record.measures.get(f"{damage}_noise_floor") for record in records])
        if plot:  # the plots show the similarity of the first source
            plots.append(PlotView(plot, next((row for row in correlations_of(run) if row.damage == damage), None)))
    return plots


def _damage(measures: Mapping[str, float], damage: str) -> float | None:
    _, distances = _DAMAGES[damage]
    if distances:
        return next((measures[name] for name in distances if name in measures), None)
    before, after = measures.get(f"{damage}_base"), measures.get(f"{damage}_candidate")
    return None if before is None or after is None else before - after
