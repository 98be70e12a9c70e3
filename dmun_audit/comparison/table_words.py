"""The words of a table of methods, for every form of it: its parts, its sentences, and a figure as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.figures import CLAIMS, FOOTNOTES, footnote
from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.metric_figures import METRIC
from dmun_audit.report.formatting import count, one_line
from dmun_audit.verdict.significant import MOST_DIGITS, Rounding, percent, points, rounded

STRATEGY = "adversarial: "
"""What the columns of one strategy begin with."""

PARTS = {
    "Claims": (*CLAIMS, "refuted alone"),
    "Attacks with the weights, and accuracy as papers print it": ("pre-ASR", "ASR", "UA", "IRA", "CRA", "H"),
}
"""The parts of the table, each with its columns. Strategies and metrics have a part each, and the other columns have one."""
STRATEGIES_PART = "Adversarial prompts by strategy"
METRICS_PART = "Further metrics: reported, they decide nothing"
OTHER_PART = "Distances, orderings and cost"
_BY_KIND = {STRATEGY: STRATEGIES_PART, f"{METRIC}: ": METRICS_PART}

MINUS = "−"
_SMALLEST = 1e-300  # a number under this is shown as 0
_MOST_DECIMALS = 6  # zeros after the point; a smaller number has an exponent
MARKS_IN_WORDS = {"FAIL": "The claim is refuted.", "INCONCLUSIVE": "The claim is neither proven nor refuted."}


def sections(table: MethodTable) -> list[tuple[str, list[str]]]:
    """The columns of each part of the table, with its heading."""
    placed = {name: head for head, names in PARTS.items() for name in names}
    heads = [
        next((head for start, head in _BY_KIND.items() if name.startswith(start)), placed.get(name, OTHER_PART))
        for name in table.columns
    ]
    return [
        (head, [name for name, its in zip(table.columns, heads, strict=True) if its == head])
        for head in (*PARTS, STRATEGIES_PART, METRICS_PART, OTHER_PART)
        if head in heads
    ]


def short(column: str) -> str:
    """A column's name without the heading of its part."""
    return next((column.removeprefix(start) for start in _BY_KIND if column.startswith(start)), column)


def title(table: MethodTable) -> str:
    """What the table holds."""
    return f"{count(len(table.rows), 'audit')} for {one_line(table.target)}"


def plan_sentences(table: MethodTable) -> list[str]:
    """What the runs share."""
    shared = ", ".join(f"{name} {one_line(words)}" for name, words in table.shared.items() if name != "target")
    return [f"All audits share {shared}."]


def pairs_sentences(table: MethodTable) -> list[str]:
    """Says that figures on plain prompts rest on different numbers of pairs, where they do."""
    pairs = {figure.pairs for row in table.rows for figure in row.figures.values() if figure.pairs is not None}
    if len(pairs) < 2:
        return []
    return [
        f"Figures on all plain prompts together rest on {min(pairs)} to {max(pairs)} pairs. A distance between sets depends on that "
        "number. Compare it between runs with as many."
    ]


def sentences(table: MethodTable) -> list[str]:
    """What concerns the whole table: its plan, its remarks, and on what its figures rest."""
    return [*plan_sentences(table), *map(one_line, table.remarks), *pairs_sentences(table)]


def footnotes(table: MethodTable) -> list[tuple[str, str]]:
    """The kinds of the table's columns, with what they mean."""
    kinds = dict.fromkeys(name.partition(":")[0] for name in table.columns)
    return [(name, footnote(name)) for name in FOOTNOTES if name in kinds]


def number_text(value: float, figure: Figure, towards: Rounding = round, limit: float | None = None) -> str:
    """A value of a figure on its scale, without its unit: three significant digits, and counts in full.

    `towards` rounds a bound outward. A bound is told apart from `limit`, as `dmun_audit.verdict.significant` does.
    """
    if figure.percent:
        shown = percent(value, towards, limit).removesuffix("%")
    elif abs(value) >= 100:
        shown = f"{towards(value):,.0f}"
    else:
        shown = f"{rounded(value, towards) if abs(value) > _SMALLEST else 0.0:.{MOST_DIGITS}g}"
    if "e-" in shown and abs(float(shown)) >= 10.0**-_MOST_DECIMALS:
        shown = f"{float(shown):.{_MOST_DECIMALS + MOST_DIGITS}f}".rstrip("0")
    return shown.replace("-", MINUS)


def value_text(figure: Figure) -> str:
    """The value of a figure with its unit, such as "2.13%" or "4.72 points"; a dash for none."""
    if figure.value is None:
        return "–"
    if figure.points:
        return points(figure.value).replace("-", MINUS)
    return number_text(figure.value, figure) + ("%" if figure.percent else "")


def bound_texts(figure: Figure) -> list[str]:
    """The bounds of a figure without their unit, the lower one rounded down and the upper one up; empty where it lacks one."""
    if figure.lower is None or figure.upper is None:
        return []
    sides = ((figure.lower, math.floor), (figure.upper, math.ceil))
    return [number_text(bound, figure, towards, figure.limit) for bound, towards in sides]


def bounds_text(figure: Figure) -> str:
    """The bounds of a figure in brackets. Those in points have no unit, because it stands before them."""
    unit = "%" if figure.percent and not figure.points else ""
    return f"[{', '.join(bound + unit for bound in bound_texts(figure))}]" if bound_texts(figure) else ""


def unit_of(figures: Sequence[Figure]) -> str:
    """The unit of a column, of its figures: "%", "points" or none."""
    known = [figure for figure in figures if figure.value is not None and figure.percent]
    return "points" if any(figure.points for figure in known) else "%" if known else ""


def pairs_text(figure: Figure) -> str:
    """On how many pairs a figure rests; empty where that is not told."""
    return "" if figure.pairs is None else count(figure.pairs, "pair")


def figure_text(figure: Figure) -> str:
    """An estimate with its bounds, its pairs and its mark, such as "2.13% [0.4%, 6%] FAIL"; a dash if there is none."""
    if figure.value is None:
        return "–"
    pairs = f"({pairs_text(figure)})" if figure.pairs is not None else ""
    return " ".join(filter(None, (value_text(figure), bounds_text(figure), pairs, figure.mark)))
