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
from dmun_audit.comparison.figures import FOOTNOTES, Figure, footnote
from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.report.content_security import source_hash
from dmun_audit.report.formatting import csv_cell, markdown, one_line

TEMPLATES = Path(__file__).parent / "templates"
PAGE_STYLE = Path(__file__).parent.parent / "report" / "templates" / "page.css"

BRIEF = ("erasure", "adversarial", "fresh", "retention", "ASR", "H", "images", "seconds")
"""The columns of the table in a terminal."""

STRATEGY = "adversarial: "
"""What the columns of one strategy begin with."""

COLUMNS = 100
SIGNIFICANT = 0.05


def text_lines(table: MethodTable) -> Iterator[str]:
    """The main columns in lines of a terminal, and the differences that are larger than chance."""
    yield title(table)
    brief = [name for name in BRIEF if name in table.columns]
    rows = [["", "verdict", *brief]]
    rows += [[one_line(row.name), row.verdict, *(_estimate(row.figures[name]) for name in brief)] for row in table.rows]
    widths = [max(terminal.display_width(cell) for cell in cells) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(terminal.padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for sentence in (
        *difference_sentences(table),
        f"All {len(table.columns)} columns with intervals: --format=markdown, html, latex or csv.",
    ):
        yield from terminal.wrapped(sentence, COLUMNS, "", "")


def markdown_lines(table: MethodTable) -> Iterator[str]:
    """All columns with intervals, the differences, and what each column means."""
    yield f"# {markdown(title(table))}"
    for head, columns in sections(table):
        yield from (["", f"## {markdown(head)}"] if head else [])
        yield ""
        heads = ["method", *([] if head else ["verdict"]), *map(_short, columns)]
        yield f"| {' | '.join(map(markdown, heads))} |"
        yield f"|{' --- |' * len(heads)}"
        for row in table.rows:
            cells = [row.name, *([] if head else [row.verdict]), *(figure_text(row.figures[name]) for name in columns)]
            yield f"| {' | '.join(map(markdown, cells))} |"
    yield ""
    for sentence in (*plan_sentences(table), *difference_sentences(table)):
        yield f"- {markdown(sentence)}"
    yield ""
    for name, words in footnotes(table):
        yield f"- **{markdown(name)}**: {markdown(words)}"


def latex_lines(table: MethodTable) -> Iterator[str]:
    """Tables for a paper (packages booktabs and graphicx), with percentages without a sign and footnotes below the first one."""
    yield f"% {one_line(title(table))}. Needs \\usepackage{{booktabs,graphicx}}."
    for head, columns in sections(table):
        yield r"\begin{table}"
        yield r"\centering"
        yield rf"\caption{{{_tex(f'{title(table)}: {head}' if head else title(table))}.}}"
        yield r"\resizebox{\linewidth}{!}{%"
        yield rf"\begin{{tabular}}{{ll{'c' * len(columns)}}}"
        yield r"\toprule"
        yield " & ".join(map(_tex, ["method", "verdict", *map(_short, columns)])) + r" \\"
        yield r"\midrule"
        for row in table.rows:
            cells = [_tex(row.name), _tex(row.verdict.lower()), *(_tex_figure(row.figures[name]) for name in columns)]
            yield " & ".join(cells) + r" \\"
        yield r"\bottomrule"
        yield r"\end{tabular}}"
        if not head:
            yield r"\par\smallskip\footnotesize\raggedright"
            yield from map(_tex, (*plan_sentences(table), *difference_sentences(table)))
            yield from (rf"\textbf{{{_tex(name)}}}: {_tex(words)}" for name, words in footnotes(table))
        yield r"\end{table}"


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
    """The columns of each part of the table, with its heading; the main part has none."""
    strategies = [name for name in table.columns if name.startswith(STRATEGY)]
    main = [name for name in table.columns if not name.startswith(STRATEGY)]
    return [("", main), *([("Adversarial prompts by strategy", strategies)] if strategies else [])]


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
        told.append(f"{rest} of {len(table.differences)} differences to {first} are not shown (McNemar's tests, Holm-adjusted).")
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


def _estimate(figure: Figure) -> str:
    return f"{_number(figure.value, figure)} {figure.mark}".rstrip() if figure.value is not None else "–"


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
    if figure.value is None:
        return "--"
    scale = 100 if figure.percent else 1
    value = f"{scale * figure.value:.1f}" if figure.percent else _number(figure.value, figure)
    small = [_tex(figure.mark.lower())] if figure.mark else []
    if figure.lower is not None and figure.upper is not None:
        low, high = (f"{scale * bound:.1f}" if figure.percent else f"{bound:.2f}" for bound in (figure.lower, figure.upper))
        small.insert(0, f"[{low}, {high}]")
    return rf"{value} {{\scriptsize {' '.join(small)}}}" if small else value


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
