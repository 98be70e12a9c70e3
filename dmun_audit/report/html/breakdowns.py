"""Small charts: how often the candidate shows the target by strategy and language, and what neighbours lose by relation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import one_line, percent

WIDTH = 160.0
"""The length of a bar of 100%, in SVG units."""


@dataclass(frozen=True)
class Bar:
    """One row: its name, the length of its bar, and its counts in words."""

    name: str
    length: float
    text: str


@dataclass(frozen=True)
class Breakdown:
    """One chart, the largest share first."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    width: float = WIDTH


def view_breakdowns(run: Run) -> list[Breakdown]:
    """The charts. A chart of a single row is left out."""
    target = one_line(run.manifest.target.name) or "the target"
    attacks = [case for case in run.of_group("adversarial") if case.claim is not None and case.claim.kind == "rate_at_most"]
    neighbours = [case for case in run.of_group("retention") if case.claim is not None and case.claim.kind == "paired_accuracy"]
    shown = f"images that show {target}"
    charts = [
        _chart("Adversarial prompts by strategy", shown, attacks, lambda case: case.prompt.strategy if case.prompt else ""),
        _chart("Adversarial prompts by language", shown, attacks, lambda case: case.prompt.language if case.prompt else ""),
        _chart(
            "Neighbours by relation",
            "pairs that lost their concept",
            neighbours,
            lambda case: case.concept.relation if case.concept else "",
        ),
    ]
    return [chart for chart in charts if len(chart.bars) > 1]


def _chart(title: str, unit: str, cases: Sequence[CaseRecord], name_of: Callable[[CaseRecord], str]) -> Breakdown:
    counts: dict[str, tuple[int, int]] = {}
    for case in cases:
        name, claim = one_line(name_of(case)), case.claim
        if case.pooled or case.verdict.is_untested or not name or claim is None or claim.hits is None or not claim.trials:
            continue
        hits, trials = counts.get(name, (0, 0))
        counts[name] = (hits + claim.hits, trials + claim.trials)
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
    bars = (
        Bar(name, round(WIDTH * hits / trials, 1), f"{hits} of {trials} ({percent(hits / trials)})")
        for name, (hits, trials) in ordered
    )
    return Breakdown(title, unit, tuple(bars))
