"""A table of methods as text for a terminal, as Markdown, LaTeX (booktabs), CSV and HTML."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from dmun_audit._util import terminal
from dmun_audit.comparison import difference_words
from dmun_audit.comparison.difference_words import difference_sentences
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.latex_tables import latex_lines
from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.metric_figures import METRIC
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.comparison.table_words import (
    MARKS_IN_WORDS,
    bounds_text,
    figure_text,
    footnotes,
    pairs_sentences,
    pairs_text,
    sections,
    sentences,
    short,
    title,
    value_text,
)
from dmun_audit.report.content_security import source_hash
from dmun_audit.report.formatting import csv_cell, markdown, one_line, printable

TEMPLATES = Path(__file__).parent / "templates"
PAGE_STYLE = Path(__file__).parent.parent / "report" / "templates" / "page.css"

BRIEF = ("erasure", "adversarial", "fresh", "retention", "refuted alone", "ASR", "H", "images", "drawn", "seconds")
"""The columns of the table in a terminal, beside metrics and those in which a model fails."""

TEXT_MARKS = {"FAIL": "✗", "INCONCLUSIVE": "?"}
"""The signs of verdicts in a terminal."""

COLUMNS = 100


OF_A_DIFFERENCE: dict[str, Callable[[Difference | None], object]] = {
    "": lambda each: each and each.difference,
    " lower": lambda each: each and each.lower,
    " upper": lambda each: each and each.upper,
    " units": lambda each: each and each.units,
    " worse": lambda each: each and each.worse,
    " better": lambda each: each and each.better,
    " p": lambda each: each and each.p_value,
    " p_holm": lambda each: each and each.p_holm,
}
"""The columns of one paired difference as CSV: the end of their name, and their value."""


def text_lines(table: MethodTable) -> Iterator[str]:
    """The main columns in lines of a terminal, and the paired differences."""
    yield title(table)
    failing = {name for name in table.columns if any(row.figures[name].mark.startswith("FAIL") for row in table.rows)}
    metrics = {name for name in table.columns if name.startswith(f"{METRIC}:")}
    brief = [name for name in table.columns if name in BRIEF or name in failing | metrics]
    signs = {row.figures[name].mark.split(" ")[0] for row in table.rows for name in brief}
    rows = [["", "verdict", *map(short, brief)]]
    rows += [[row.name, row.verdict, *(_brief(row.figures[name]) for name in brief)] for row in table.rows]
    yield from _aligned(rows, first_alone=1)
    for sentence in (
        *(f"{sign} {MARKS_IN_WORDS[mark]}" for mark, sign in TEXT_MARKS.items() if mark in signs),
        *(["Metrics are reported. They decide nothing.", *pairs_sentences(table)] if metrics else []),
        *map(one_line, table.remarks),
    ):
        yield from terminal.wrapped(sentence, COLUMNS, "", "")
    if table.differences:
        yield from ("", difference_words.heading(table))
        rows = [["", *difference_words.groups_of(table)]]
        rows += [
            [name, *(difference_words.cell_text(each) for each in cells)] for name, cells in difference_words.compared_rows(table)
        ]
        yield from _aligned(rows)
        for sentence in (difference_words.explanation(table), "", *difference_sentences(table)):
            yield from terminal.wrapped(sentence, COLUMNS, "", "") if sentence else [""]
    yield ""
    yield from terminal.wrapped(
        f"All {len(table.columns)} columns with intervals, and what they mean: --format=markdown, html, latex or csv.",
        COLUMNS,
        "",
        "",
    )


def _aligned(rows: Sequence[Sequence[str]], first_alone: int = 0) -> Iterator[str]:
    """The rows with aligned columns, heads first, in blocks that each fit into the terminal.

    The first column, with the names of the rows, begins each block. The next `first_alone` columns stand in the first block.
    """
    columns = [[one_line(cell) for cell in cells] for cells in zip(*rows, strict=True)]
    widths = [2 + max(map(terminal.display_width, cells)) for cells in columns]
    blocks = [list(range(1 + first_alone))]
    for place in range(1 + first_alone, len(columns)):
        if len(blocks[-1]) > 1 and sum(widths[each] for each in (*blocks[-1], place)) > COLUMNS:
            blocks.append([0])
        blocks[-1].append(place)
    for block in blocks:
        for row in zip(*columns, strict=True):
            yield "".join("  " + terminal.padded(row[place], widths[place] - 2) for place in block).rstrip()
        yield ""


def markdown_lines(table: MethodTable) -> Iterator[str]:
    """All columns with intervals, the differences, and what each column means."""
    yield f"# {markdown(title(table))}"
    for place, (head, columns) in enumerate(sections(table)):
        first = place == 0
        yield from ("", f"## {markdown(head)}", "")
        heads = ["method", *(["verdict"] if first else []), *map(short, columns)]
        yield f"| {' | '.join(map(markdown, heads))} |"
        yield f"|{' --- |' * len(heads)}"
        for row in table.rows:
            cells = [row.name, *([row.verdict] if first else []), *(figure_text(row.figures[name]) for name in columns)]
            yield f"| {' | '.join(map(markdown, cells))} |"
    if table.differences:
        yield from ("", f"## {markdown(difference_words.heading(table))}", "")
        heads = ["method", *difference_words.groups_of(table)]
        yield f"| {' | '.join(map(markdown, heads))} |"
        yield f"|{' --- |' * len(heads)}"
        for name, compared in difference_words.compared_rows(table):
            yield f"| {' | '.join(map(markdown, [name, *map(difference_words.cell_text, compared)]))} |"
        yield from ("", markdown(difference_words.explanation(table)), "")
        yield from (f"- {markdown(sentence)}" for sentence in difference_sentences(table))
    yield from ("", "## About these audits", "")
    for sentence in sentences(table):
        yield f"- {markdown(sentence)}"
    yield from ("", "## What the columns mean", "")
    for name, words in footnotes(table):
        yield f"- **{markdown(name)}**: {markdown(words)}"


def csv_text(table: MethodTable) -> str:
    """One line for each method, with a column for each figure, its bounds, its pairs and its mark. Shares are fractions.

    The columns of paired differences follow, and the name of the reference.
    """
    parts: list[tuple[str, Callable[[Figure], object]]] = [
        ("", lambda figure: figure.value),
        (" lower", lambda figure: figure.lower),
        (" upper", lambda figure: figure.upper),
        (" pairs", lambda figure: figure.pairs),
        (" mark", lambda figure: figure.mark or None),
    ]
    kept = [(name, end, read) for name in table.columns for end, read in parts]  # the same columns, whatever the results
    tested = {(each.name, each.group): each for each in table.differences}
    groups = difference_words.groups_of(table)
    heads = ["method", "verdict", "folder", *(f"{name}{end}" for name, end, _ in kept)]
    heads += [f"{group} difference{end}" for group in groups for end in OF_A_DIFFERENCE]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, [*heads, *(["reference"] if groups else [])]))
    for row in table.rows:
        cells = [row.name, row.verdict, str(row.folder), *(read(row.figures[name]) for name, _, read in kept)]
        cells += [read(tested.get((row.name, group))) for group in groups for read in OF_A_DIFFERENCE.values()]
        writer.writerow(map(csv_cell, [*cells, *([table.reference] if groups else [])]))
    return stream.getvalue()


def html_text(table: MethodTable, folder: Path = Path(), links: Sequence[str] | None = None) -> str:
    """One page that needs no other file and no network.

    It lies in `folder` and links to the reports from there, or to `links`, one for each run.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    style = PAGE_STYLE.read_text(encoding="utf-8") + (TEMPLATES / "methods.css").read_text(encoding="utf-8")
    return environment.get_template("methods.html.j2").render(
        title=title(table),
        table=table,
        sections=[(head, [(name, short(name)) for name in columns]) for head, columns in sections(table)],
        cell=_page_cell,
        links=links or _reports(table, folder),
        differences=difference_words,
        sentences=sentences(table),
        footnotes=footnotes(table),
        style=Markup(style),
        style_hash=source_hash(style),
    )


def _reports(table: MethodTable, folder: Path) -> list[str]:
    return [f"{quote(os.path.relpath(row.folder, folder))}/report.html" for row in table.rows]


def _brief(figure: Figure) -> str:
    """An estimate with the sign of its verdict, or with its mark."""
    mark = TEXT_MARKS.get(figure.mark.partition(" ")[0], figure.mark)
    return f"{value_text(figure)} {mark}".rstrip() if figure.value is not None else "–"


def _page_cell(figure: Figure) -> tuple[str, list[str], str, str]:
    """Of the cell of a figure on the page: its value, what stands below it, its mark, and the class of the mark."""
    if figure.value is None:
        return "–", [], "", ""
    below = [each for each in (bounds_text(figure), pairs_text(figure)) if each]
    verdict = figure.mark.partition(" ")[0].lower()
    return value_text(figure), below, figure.mark, verdict if verdict in ("fail", "inconclusive") else "name"


def written(table: MethodTable, form: str, folder: Path = Path()) -> str:
    """The table as text, markdown, html, latex or csv, without characters that a terminal obeys. `folder` is where the file will lie."""
    if form == "html":
        return printable(html_text(table, folder))
    if form == "csv":
        return csv_text(table)
    return "\n".join({"text": text_lines, "markdown": markdown_lines, "latex": latex_lines}[form](table))
