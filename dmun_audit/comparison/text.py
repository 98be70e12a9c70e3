"""A comparison as text for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dmun_audit._util import terminal
from dmun_audit.comparison.comparison import Comparison, PooledOrdering, run_facts
from dmun_audit.evidence.ordering_messages import (
    CAVEAT,
    DAMAGES,
    Sample,
    in_concepts,
    is_at_hand,
    ranking_sentences,
    signed,
)
from dmun_audit.report.formatting import count, markdown, number, one_line

COLUMNS = 100
SCOPE = (
    "Each ρ is the mean of Spearman's ρ over the runs; every target counts alike, and so does every run of a target. Runs of one "
    "target measure the same concepts: the interval and p count these runs as dependent. The 95% interval is about these targets "
    "and models, and not about others. p is one-sided, of a permutation test within the runs; round brackets hold p after Holm's "
    "adjustment over all rows."
)
RUN_COLUMNS = ("folder", "target", "candidate", "policy", "verdict", "concepts")


def text_lines(comparison: Comparison) -> Iterator[str]:
    """The comparison in lines of at most 100 columns."""
    yield title(comparison)
    for run in comparison.runs:
        facts = [one_line(fact) for fact in run_facts(run).values()]
        yield from _wrapped(f"{', '.join(facts[:-1])}, {count(len(run.concepts), 'concept')}", "  ")
    for line in (*left_out_lines(comparison), *map(one_line, comparison.remarks), *model_lines(comparison)):
        yield from _wrapped(line, "  ")
    for damage in comparison.damages:
        rows = comparison.of_damage(damage)
        yield ""
        yield f"Damage by {DAMAGES[damage]}"
        width = max(terminal.display_width(one_line(row.source)) for row in rows)
        for place, row in zip(places(rows), rows, strict=True):
            name = terminal.padded(one_line(row.source), width)
            yield from terminal.wrapped(", ".join(_cells(row)), COLUMNS, f"  {place:>2}  {name}  ", " " * (width + 8))
        for sentence in sentences(comparison, damage):
            yield from _wrapped(one_line(sentence), "  ")
    yield ""
    for sentence in (SCOPE, CAVEAT):
        yield from _wrapped(sentence, "")


def markdown_lines(comparison: Comparison) -> Iterator[str]:
    """The comparison in Markdown: a table of runs, and one of sources for each damage."""
    yield f"# {title(comparison)}"
    yield ""
    yield from _table(RUN_COLUMNS, (list(map(str, run_facts(run).values())) for run in comparison.runs))
    for line in (*left_out_lines(comparison), *comparison.remarks, *model_lines(comparison)):
        yield f"- {markdown(line)}"
    for damage in comparison.damages:
        rows = comparison.of_damage(damage)
        yield ""
        yield f"## Damage by {DAMAGES[damage]}"
        yield ""
        columns = ("", "source", "ρ", "95% interval", "p (adjusted)", "runs", "concepts", "concepts to show it")
        yield from _table(columns, (_row(place, row) for place, row in zip(places(rows), rows, strict=True)))
        for sentence in sentences(comparison, damage):
            yield f"- {markdown(sentence)}"
    yield ""
    yield f"{SCOPE} {CAVEAT}"


def title(comparison: Comparison) -> str:
    """What is compared, such as "8 concepts of 1 target, in 2 runs (16 measurements)"."""
    concepts, targets = count(comparison.concepts, "concept"), count(comparison.targets, "target")
    measured = f" ({comparison.measurements} measurements)" if comparison.measurements > comparison.concepts else ""
    return f"{concepts} of {targets}, in {count(len(comparison.runs), 'run')}{measured}"


def left_out_lines(comparison: Comparison) -> list[str]:
    """The runs that do not count, with their reasons."""
    return [f"left out: {one_line(each.folder)}: {one_line(each.reason)}" for each in comparison.left_out]


def model_lines(comparison: Comparison) -> list[str]:
    """The full names of the models behind the sources, where the name of a source does not hold its model's."""
    named = dict.fromkeys((row.source, row.model) for row in comparison.sources if row.model)
    return [
        f"{one_line(source)}: the full name of the model is {one_line(model)}"
        for source, model in named
        if not source.endswith(f" {model}")
    ]


def places(rows: Sequence[PooledOrdering]) -> list[str]:
    """The place of each row in the ranking; a dash for one that is not ranked. Equal correlations share their place."""
    ranked = [row.rho for row in rows if row.ranked]
    return [str(1 + ranked.index(row.rho)) if row.ranked else "–" for row in rows]


def sentences(comparison: Comparison, damage: str) -> list[str]:
    """What follows for one damage: which source comes first, whether it can be told from others, and what it would take."""
    rows = [row for row in comparison.of_damage(damage) if row.ranked]
    differences = [each for each in comparison.differences if each.damage == damage]
    if not rows:
        return ["No source has a rank correlation with this damage."]
    first = rows[0]
    sample = Sample(f"{count(first.n, 'concept')} in {count(first.runs, 'run')}", first.targets)
    found = ranking_sentences(rows, differences, sample)
    enough = is_at_hand(first.needed, first.n, first.targets)
    if first.targets > 1 and (first.rho or 0.0) > 0.0 and first.needed_each is not None and not enough:
        found.append(f"With {first.targets} targets as now, {count(first.needed_each, 'concept')} in each would show such a ρ.")
    return found


def _cells(row: PooledOrdering) -> list[str]:
    if row.rho is None:
        return [f"undefined: {row.note}"]
    spread = f"{signed(row.lowest)} to {signed(row.highest)} in {count(row.runs, 'run')}" if row.runs > 1 else "1 run"
    return [f"ρ {signed(row.rho)} {_interval(row)}", f"p {_p_values(row)}", spread]


def _row(place: str, row: PooledOrdering) -> list[str]:
    if row.rho is None:
        return [place, row.source, "–", row.note, "–", str(row.runs), str(row.n), "–"]
    counts = str(row.runs), str(row.n), in_concepts(row.rho, row.needed)
    return [place, row.source, signed(row.rho), _interval(row), _p_values(row), *counts]


def _interval(row: PooledOrdering) -> str:
    return f"[{signed(row.lower)}, {signed(row.upper)}]"


def _p_values(row: PooledOrdering) -> str:
    return f"{number(row.p_value, 2)} ({number(row.p_holm, 2)})"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(markdown, row))} |"
    yield ""


def _wrapped(text: str, indent: str) -> list[str]:
    return terminal.wrapped(text, COLUMNS, indent, f"{indent}  ")
