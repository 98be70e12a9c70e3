"""A table of methods in LaTeX, for papers: one table for each part, and one of the paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmun_audit.comparison import difference_words
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.figures import footnote
from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.comparison.table_words import (
    MARKS_IN_WORDS,
    bound_texts,
    number_text,
    pairs_text,
    sections,
    sentences,
    short,
    title,
    unit_of,
)
from dmun_audit.report.formatting import one_line

MOST_COLUMNS = 5  # with bounds, that fit into a line of a paper
MOST_WITHOUT_BOUNDS = 7

MARKS = {"FAIL": r"$^{\ast}$", "INCONCLUSIVE": r"$^{\circ}$"}
"""The signs of verdicts in tables of papers."""

_ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "ρ": r"$\rho$", "×": r"$\times$", "–": "--", "−": "$-$",
}  # fmt: skip


def latex_lines(table: MethodTable) -> Iterator[str]:
    """Tables for a paper (packages booktabs and graphicx), with the unit of each column in its head, and with footnotes."""
    yield f"% {one_line(title(table))}. Needs \\usepackage{{booktabs,graphicx}}."
    yield r"\providecommand{\figurecell}[1]{\renewcommand{\arraystretch}{0.8}\begin{tabular}[t]{@{}c@{}}#1\end{tabular}}"
    yield from _parts(table)
    if table.differences:
        compared = difference_words.compared_rows(table)
        notes = [difference_words.explanation(table), *difference_words.difference_sentences(table)]
        yield from _table(
            f"{title(table)}: {difference_words.heading(table)}.",
            ["method"],
            difference_words.groups_of(table),
            [[name] for name, _ in compared],
            [[_difference(each) for each in cells] for _, cells in compared],
            [*map(_escaped, notes)],
        )


def _parts(table: MethodTable) -> Iterator[str]:
    """The parts of the table. One with many columns becomes several tables. The first table has the verdicts."""
    first = True
    for head, all_columns in sections(table):
        for columns in _pieces(table, all_columns):
            rows = [[row.name, row.verdict.lower()] if first else [row.name] for row in table.rows]
            cells = [[_figure(row.figures[name]) for name in columns] for row in table.rows]
            notes = [*(map(_escaped, sentences(table)) if first else ()), *_notes(table, columns)]
            names = ["method", "verdict"] if first else ["method"]
            yield from _table(
                f"{title(table)}: {head}.", names, [short(name) + _unit(table, name) for name in columns], rows, cells, notes
            )
            first = False


def _pieces(table: MethodTable, columns: Sequence[str]) -> list[list[str]]:
    """The columns in pieces of about equal length. Each piece fits into a line of a paper."""
    bounded = any(row.figures[name].lower is not None for row in table.rows for name in columns)
    most = MOST_COLUMNS if bounded else MOST_WITHOUT_BOUNDS
    pieces = -(-len(columns) // most)
    size = -(-len(columns) // pieces)
    return [[*columns[start : start + size]] for start in range(0, len(columns), size)]


def _table(
    caption: str,
    names: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    cells: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> Iterator[str]:
    """One table: `rows` are texts under `names`, and `cells` are LaTeX under `columns`."""
    wide = len(columns) > MOST_COLUMNS  # made as wide as the line
    yield r"\begin{table}"
    yield r"\centering\small\setlength{\tabcolsep}{2.5pt}"
    yield rf"\caption{{{_escaped(caption)}}}"
    yield from ([r"\resizebox{\linewidth}{!}{%"] if wide else [])
    yield rf"\begin{{tabular}}{{{'l' * len(names)}{'c' * len(columns)}}}"
    yield r"\toprule"
    yield " & ".join([*map(_escaped, names), *map(_head, columns)]) + r" \\"
    yield r"\midrule"
    for words, figures in zip(rows, cells, strict=True):
        yield "{}" + " & ".join([*map(_escaped, words), *figures]) + r" \\ \addlinespace[1pt]"  # {}: a name may begin with [ or *
    yield r"\bottomrule"
    yield r"\end{tabular}}" if wide else r"\end{tabular}"
    yield r"\par\smallskip\footnotesize\raggedright"
    yield from notes
    yield r"\end{table}"


def _notes(table: MethodTable, columns: Sequence[str]) -> Iterator[str]:
    """What the marks and columns of one table mean."""
    marks = {row.figures[name].mark.split(" ")[0] for row in table.rows for name in columns}
    yield from (f"{sign} {MARKS_IN_WORDS[mark]}" for mark, sign in MARKS.items() if mark in marks)
    for name in dict.fromkeys(column.partition(":")[0] for column in columns):
        yield rf"\textbf{{{_escaped(name)}}}: {_escaped(footnote(name))}"


def _head(column: str) -> str:
    """The head of a column; what follows a comma stands below."""
    return _cell(*map(_escaped, column.split(", ")))


def _unit(table: MethodTable, column: str) -> str:
    """What follows the name of a column to tell its unit."""
    unit = unit_of([row.figures[column] for row in table.rows])
    return f", ({unit})" if unit else ""


def _figure(figure: Figure) -> str:
    """An estimate with the sign of its verdict, and below it its bounds and what else is to be said."""
    if figure.value is None:
        return "--"
    value = _escaped(number_text(figure.value, figure))
    verdict, _, more = figure.mark.partition(" ")
    sign, words = (MARKS[verdict], more.strip("()")) if verdict in MARKS else ("", figure.mark)
    bounds = bound_texts(figure)
    small = [_escaped(each) for each in (f"[{', '.join(bounds)}]" if bounds else "", words, pairs_text(figure)) if each]
    return _cell(f"{value}{sign}", *small, below=r"\tiny ")


def _difference(each: Difference | None) -> str:
    if each is None:
        return "--"
    parts = difference_words.bounds_text(each), difference_words.p_text(each)
    return _cell(_escaped(difference_words.points(each.difference)), *(_escaped(part) for part in parts if part), below=r"\tiny ")


def _cell(first: str, *others: str, below: str = "") -> str:
    """A cell of one line, or of several below each other."""
    lines = "".join(rf"\\{{{below}{other}}}" for other in others)
    return rf"\figurecell{{{first}{lines}}}" if others else first


def _escaped(text: str) -> str:
    letters = "".join(_ESCAPED.get(letter, letter) for letter in one_line(text).replace("--", "\0"))
    return letters.replace("\0", "-{}-")
