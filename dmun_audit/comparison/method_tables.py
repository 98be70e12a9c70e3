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
from dmun_audit.comparison.figures import CLAIMS, FOOTNOTES, Figure, footnote
from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.report.content_security import source_hash
from dmun_audit.report.formatting import csv_cell, markdown, one_line

TEMPLATES = Path(__file__).parent / "templates"
PAGE_STYLE = Path(__file__).parent.parent / "report" / "templates" / "page.css"

BRIEF = ("erasure", "adversarial", "fresh", "retention", "refuted alone", "ASR", "H", "images", "seconds")
"""The columns of the table in a terminal, beside those in which a model fails."""

STRATEGY = "adversarial: "
"""What the columns of one strategy begin with."""

PARTS = {
    "Claims": (*CLAIMS, "refuted alone"),
    "Attacks with the weights, and accuracy as papers print it": ("pre-ASR", "ASR", "UA", "IRA", "CRA", "H"),
}
"""The parts of the table, each with its columns. Strategies have a part of their own, and the other columns have one."""
OTHER_PART = "Distances, orderings and cost"
STRATEGIES_PART = "Adversarial prompts by strategy"

MOST_COLUMNS = 5  # that fit into a line of a paper without being made smaller

COLUMNS = 100
SIGNIFICANT = 0.05


def text_lines(table: MethodTable) -> Iterator[str]:
    """The main columns in lines of a terminal, and the differences that are larger than chance."""
    yield title(table)
    failing = {name for name in table.columns if any(row.figures[name].mark.startswith("FAIL") for row in table.rows)}
    brief = [name for name in table.columns if name in BRIEF or name in failing]
    for columns in _blocks(table, brief):
        rows, widths = _brief_rows(table, columns)
        for row in rows:
            yield "  " + "  ".join(terminal.padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield ""
    signs = {row.figures[name].mark.split(" ")[0] for row in table.rows for name in brief}
    for sentence in (
        *(f"{sign} {MARKS_IN_WORDS[mark]}" for mark, sign in TEXT_MARKS.items() if mark in signs),
        *difference_sentences(table),
        f"All {len(table.columns)} columns with intervals: --format=markdown, html, latex or csv.",
    ):
        yield from terminal.wrapped(sentence, COLUMNS, "", "")


def _blocks(table: MethodTable, columns: Sequence[str]) -> list[list[str]]:
    """The columns in blocks that each fit into the terminal, below each other."""
    blocks: list[list[str]] = [[]]
    for name in columns:
        _, widths = _brief_rows(table, [*blocks[-1], name])
        if blocks[-1] and sum(widths) + 2 * len(widths) > COLUMNS:
            blocks.append([])
        blocks[-1].append(name)
    return blocks


def _brief_rows(table: MethodTable, columns: Sequence[str]) -> tuple[list[list[str]], list[int]]:
    """The rows of the table in a terminal with these columns, heads first, and the width of each column."""
    rows = [["", "verdict", *columns]]
    rows += [[one_line(row.name), row.verdict, *(_brief(row.figures[name]) for name in columns)] for row in table.rows]
    return rows, [max(terminal.display_width(cell) for cell in cells) for cells in zip(*rows, strict=True)]


def markdown_lines(table: MethodTable) -> Iterator[str]:
    """All columns with intervals, the differences, and what each column means."""
    yield f"# {markdown(title(table))}"
    for place, (head, columns) in enumerate(sections(table)):
        first = place == 0
        yield from ("", f"## {markdown(head)}", "")
        heads = ["method", *(["verdict"] if first else []), *map(_short, columns)]
        yield f"| {' | '.join(map(markdown, heads))} |"
        yield f"|{' --- |' * len(heads)}"
        for row in table.rows:
            cells = [row.name, *([row.verdict] if first else []), *(figure_text(row.figures[name]) for name in columns)]
            yield f"| {' | '.join(map(markdown, cells))} |"
    yield ""
    for sentence in (*plan_sentences(table), *difference_sentences(table)):
        yield f"- {markdown(sentence)}"
    yield ""
    for name, words in footnotes(table):
        yield f"- **{markdown(name)}**: {markdown(words)}"


def latex_lines(table: MethodTable) -> Iterator[str]:
    """Tables for a paper (packages booktabs and graphicx): one for each part, with percentages without a sign and its footnotes."""
    yield f"% {one_line(title(table))}. Needs \\usepackage{{booktabs,graphicx}}."
    yield r"\providecommand{\figurecell}[1]{\begin{tabular}{@{}c@{}}#1\end{tabular}}"
    for place, (head, columns) in enumerate(sections(table)):
        wide = len(columns) > MOST_COLUMNS
        yield r"\begin{table}"
        yield r"\centering"
        yield rf"\caption{{{_tex(f'{title(table)}: {head}')}.}}"
        yield from ([r"\resizebox{\linewidth}{!}{%"] if wide else [])
        yield rf"\begin{{tabular}}{{ll{'c' * len(columns)}}}"
        yield r"\toprule"
        yield " & ".join(map(_tex, ["method", "verdict", *map(_short, columns)])) + r" \\"
        yield r"\midrule"
        for row in table.rows:
            cells = [_tex(row.name), _tex(row.verdict.lower()), *(_tex_figure(row.figures[name]) for name in columns)]
            yield " & ".join(cells) + r" \\ \addlinespace"
        yield r"\bottomrule"
        yield r"\end{tabular}}" if wide else r"\end{tabular}"
        yield r"\par\smallskip\footnotesize\raggedright"
        yield from _tex_notes(table, columns, shared=place == 0)
        yield r"\end{table}"


def _tex_notes(table: MethodTable, columns: Sequence[str], *, shared: bool) -> Iterator[str]:
    """What the columns and marks of one table of a paper mean. `shared` adds what concerns all tables: the plan and the differences."""
    if shared:
        yield from map(_tex, (*plan_sentences(table), *difference_sentences(table)))
    marks = {row.figures[name].mark.split(" ")[0] for row in table.rows for name in columns}
    yield from (f"{sign} {MARKS_IN_WORDS[mark]}" for mark, sign in TEX_MARKS.items() if mark in marks)
    for name in dict.fromkeys(column.partition(":")[0] for column in columns):
        yield rf"\textbf{{{_tex(name)}}}: {_tex(footnote(name))}"


def csv_text(table: MethodTable) -> str:
    """One line for each method, with a column for each figure, its bounds and its mark. Shares are fractions."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts: list[tuple[str, Callable[[Figure], object]]] = [
        ("", lambda figure: figure.value),
        (" lower", lambda figure: figure.lower),
        (" upper", lambda figure: figure.upper),
        (" mark", lambda figure: figure.mark or None),
    ]
    kept = [
        (name, end, read)
        for name in table.columns
        for end, read in parts
        if any(read(row.figures[name]) is not None for row in table.rows)
    ]
    writer.writerow(["method", "verdict", "folder", *(f"{name}{end}" for name, end, _ in kept)])
    for row in table.rows:
        cells = [row.name, row.verdict, str(row.folder), *(read(row.figures[name]) for name, _, read in kept)]
        writer.writerow(map(csv_cell, cells))
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
        sections=[(head, [(name, _short(name)) for name in columns]) for head, columns in sections(table)],
        cell=_html_cell,
        links=links or _reports(table, folder),
        sentences=[*plan_sentences(table), *difference_sentences(table)],
        footnotes=footnotes(table),
        style=Markup(style),
        style_hash=source_hash(style),
    )


def sections(table: MethodTable) -> list[tuple[str, list[str]]]:
    """The columns of each part of the table, with its heading."""
    placed = {name: head for head, names in PARTS.items() for name in names}
    heads = [STRATEGIES_PART if name.startswith(STRATEGY) else placed.get(name, OTHER_PART) for name in table.columns]
    return [
        (head, [name for name, its in zip(table.columns, heads, strict=True) if its == head])
        for head in (*PARTS, STRATEGIES_PART, OTHER_PART)
        if head in heads
    ]


def _short(column: str) -> str:
    """A column's name without the heading of its part."""
    return column.removeprefix(STRATEGY)


def _reports(table: MethodTable, folder: Path) -> list[str]:
    return [f"{quote(os.path.relpath(row.folder, folder))}/report.html" for row in table.rows]


# Words.


def title(table: MethodTable) -> str:
    """What the table holds."""
    return f"{len(table.rows)} models, audited for {one_line(table.target)}"


def plan_sentences(table: MethodTable) -> list[str]:
    """What the runs share."""
    shared = ", ".join(f"{name} {one_line(words)}" for name, words in table.shared.items() if name != "target")
    return [f"All audits share {shared}."]


def difference_sentences(table: MethodTable) -> list[str]:
    """The differences to the first method that are larger than chance, and how many are not."""
    if not table.differences:
        return []
    first = one_line(table.rows[0].name)
    real = [each for each in table.differences if each.p_holm < SIGNIFICANT]
    told = [_difference_sentence(each, first) for each in real]
    rest = len(table.differences) - len(real)
    if rest:
        told.append(f"{rest} of {len(table.differences)} differences to {first} may be chance (McNemar's tests, Holm-adjusted).")
    return told


def _difference_sentence(each: Difference, first: str) -> str:
    what = "got another label than the base's" if each.group == "retention" else "show the target"
    return (
        f"{each.group}: of {each.units} equal prompts and seeds, {each.worse} {what} with {one_line(each.name)} alone and {each.better} with "
        f"{first} alone (p = {each.p_value:.2g}, {each.p_holm:.2g} after Holm)."
    )


def footnotes(table: MethodTable) -> list[tuple[str, str]]:
    """The kinds of the table's columns, with what they mean."""
    kinds = dict.fromkeys(name.partition(":")[0] for name in table.columns)
    return [(name, footnote(name)) for name in FOOTNOTES if name in kinds]


def figure_text(figure: Figure) -> str:
    """An estimate with its bounds and its mark, such as "2.1% [0.4%, 6.0%] FAIL"; a dash if there is none."""
    bounds = (
        ""
        if figure.lower is None or figure.upper is None
        else f" [{_number(figure.lower, figure)}, {_number(figure.upper, figure)}]"
    )
    return f"{_number(figure.value, figure)}{bounds} {figure.mark}".rstrip() if figure.value is not None else "–"


TEX_MARKS = {"FAIL": r"$^{\ast}$", "INCONCLUSIVE": r"$^{\circ}$"}
"""The signs of verdicts in tables of papers."""

MARKS_IN_WORDS = {"FAIL": "The claim is refuted.", "INCONCLUSIVE": "The claim is neither proven nor refuted."}
TEXT_MARKS = {"FAIL": "✗", "INCONCLUSIVE": "?"}
"""The signs of verdicts in a terminal."""


def _brief(figure: Figure) -> str:
    """An estimate with the sign of its verdict, or with its mark."""
    mark = TEXT_MARKS.get(figure.mark.partition(" ")[0], figure.mark)
    return f"{_number(figure.value, figure)} {mark}".rstrip() if figure.value is not None else "–"


def _number(value: float | None, figure: Figure) -> str:
    if value is None:
        return "–"
    if figure.percent:
        return f"{100 * value:.1f}%"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _html_cell(figure: Figure) -> tuple[str, str, str]:
    bounds = (
        ""
        if figure.lower is None or figure.upper is None
        else f"[{_number(figure.lower, figure)}, {_number(figure.upper, figure)}]"
    )
    return _number(figure.value, figure), bounds, figure.mark


def _tex_figure(figure: Figure) -> str:
    """An estimate with the sign of its verdict, and below it its bounds and what else is to be said."""
    if figure.value is None:
        return "--"
    scale = 100 if figure.percent else 1
    value = f"{scale * figure.value:.1f}" if figure.percent else _number(figure.value, figure)
    verdict, _, more = figure.mark.partition(" ")
    sign, words = (TEX_MARKS[verdict], more.strip("()")) if verdict in TEX_MARKS else ("", figure.mark)
    small = []
    if figure.lower is not None and figure.upper is not None:
        low, high = (f"{scale * bound:.1f}" if figure.percent else f"{bound:.2f}" for bound in (figure.lower, figure.upper))
        small.append(f"[{low}, {high}]")
    small += [_tex(words)] if words else []
    below = "".join(rf"\\{{\scriptsize {each}}}" for each in small)
    return rf"\figurecell{{{_tex(value)}{sign}{below}}}" if small else f"{_tex(value)}{sign}"


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "ρ": r"$\rho$", "×": r"$\times$", "–": "--",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in one_line(text))


def written(table: MethodTable, form: str, folder: Path = Path()) -> str:
    """The table as text, markdown, html, latex or csv. `folder` is where the file will lie."""
    if form == "html":
        return html_text(table, folder)
    if form == "csv":
        return csv_text(table)
    return "\n".join({"text": text_lines, "markdown": markdown_lines, "latex": latex_lines}[form](table))
