"""The tables of orderings: how well each source of similarity predicts each damage, and which sources can be told apart."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.ordering_messages import Sample, ranked, ranking_sentences
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import Correlation, SourceDifference
from dmun_audit.report.formatting import count

Rows = list[tuple[str, str, list[Correlation | None]]]


@dataclass(frozen=True)
class OrderingsView:
    """`rows` hold each source, the full name of its model where the source lacks it, and its correlations in the order of `damages`.

    `differences` compare the best source with the others.
    """

    damages: tuple[str, ...]
    rows: Rows
    sentences: tuple[str, ...]
    differences: tuple[SourceDifference, ...]


def view_orderings(run: Run, damages: list[str]) -> OrderingsView:
    """The orderings of a run; `damages` are the measures of damage that it may have, in order."""
    rows = correlations_of(run)
    correlated = [damage for damage in damages if any(row.damage == damage for row in rows)]
    found = {(row.source, row.damage): row for row in rows}
    sources = {row.source: "" if row.source.endswith(f" {row.model}") else row.model for row in rows}
    differences = differences_of(run)
    best = {damage: highest[0].source for damage in correlated if (highest := ranked(rows, damage))}
    return OrderingsView(
        tuple(correlated),
        [(source, model, [found.get((source, damage)) for damage in correlated]) for source, model in sources.items()],
        tuple(ordering_sentences(run)),
        tuple(
            each
            for damage in correlated
            for each in differences
            if each.damage == damage and best.get(damage) in (each.first, each.second)
        ),
    )


def correlations_of(run: Run) -> list[Correlation]:
    """The correlations of every source with every damage."""
    return [row for record in run.of_group("ordering") if record.tables for row in record.tables.sources]


def differences_of(run: Run) -> list[SourceDifference]:
    """The differences of all pairs of sources."""
    return [row for record in run.of_group("ordering") if record.tables for row in record.tables.differences]


def ordering_sentences(run: Run) -> list[str]:
    """A text for each damage that says which source comes first; empty for a run without differences, as of earlier versions."""
    rows, differences = correlations_of(run), differences_of(run)
    if not differences:
        return []
    return ranking_sentences(rows, differences, Sample(count(max(row.n for row in rows), "concept")))
