"""The table of a campaign for the terminal, in 80 columns, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from dmun_audit._util import terminal
from dmun_audit.campaigns.records import GROUPS, AuditRow, CampaignRecord, Figures
from dmun_audit.report.formatting import count, is_number, one_line
from dmun_audit.report.formatting import markdown as escaped
from dmun_audit.verdict.vocabulary import AuditVerdict

COLUMNS = 80
WIDEST = {"model": 17, "target": 14, "verdict": 13}
"""The most columns of names and verdicts; a longer one is shortened."""

NUMBERS = 10  # columns of a group's numbers
MOST_REASONS = 4
OF_A_REASON = 3 * (COLUMNS - 4)  # columns of a reason in the terminal; the page and the report have all of it
LEGEND = (
    "Numbers are estimates with their upper bounds: of erasure and adversarial, the rate of images that show the target; of "
    "retention, the accuracy lost."
)


def table_lines(record: CampaignRecord) -> list[str]:
    """The table in lines of 80 columns, and the reasons of the audits that did not pass. Folders are never broken."""
    widths = {
        name: min(most, max(len(name), *(terminal.display_width(_cell(row, name)) for row in record.audits)))
        for name, most in WIDEST.items()
    }
    heads = [terminal.padded(name, width) for name, width in widths.items()]
    lines = [title(record), "  ".join([*heads, *(f"{_SHORT.get(group, group):<{NUMBERS}}" for group in GROUPS)]).rstrip()]
    for row in record.audits:
        cells = [terminal.padded(terminal.shortened(_cell(row, name), width), width) for name, width in widths.items()]
        cells += [f"{figures_text(row.claims.get(group)):<{NUMBERS}}" for group in GROUPS]
        lines.append("  ".join(cells).rstrip())
        if row.folder:
            lines.append(f"    {_images(row)}: {one_line(row.folder)}")
    lines += terminal.wrapped(LEGEND, COLUMNS)
    for head, reasons in reasons_of(record):
        lines += ["", *terminal.wrapped(head, COLUMNS)]
        short = [terminal.shortened(reason, OF_A_REASON) for reason in reasons]
        lines += [line for reason in short for line in terminal.wrapped(reason, COLUMNS, "  - ", "    ")]
    for note in notes_of(record):
        lines += ["", *terminal.wrapped(note, COLUMNS)]
    return lines


def markdown(record: CampaignRecord) -> str:
    """The table as Markdown, with links to the reports."""
    rows = [["model", "target", "verdict", *GROUPS, "images drawn", "images reused", "seconds", "report"]]
    rows.append(["---"] * len(rows[0]))
    for row in record.audits:
        numbers = [figures_text(row.claims.get(group)) for group in GROUPS]
        images = [f"{row.rendered:,}", f"{row.reused:,}", "" if row.seconds is None else f"{row.seconds:,.0f}"]
        link = f"[report]({_url(row.folder)}/report.html)" if row.folder else ""
        rows.append([*(escaped(_cell(row, name)) for name in WIDEST), *numbers, *images, link])
    lines = [f"# {escaped(title(record))}", "", *(f"| {' | '.join(row)} |" for row in rows), "", LEGEND]
    lines += ["", f"Base {escaped(record.base)}, policy {escaped(record.policy)}."]
    for head, reasons in reasons_of(record):
        lines += ["", escaped(head), "", *(f"- {escaped(reason)}" for reason in reasons)]
    for note in notes_of(record):
        lines += ["", escaped(note)]
    return "\n".join(lines) + "\n"


def title(record: CampaignRecord) -> str:
    """What the campaign holds, and its verdict."""
    models, targets = ({getattr(row, name) for row in record.audits} for name in ("model", "target"))
    waived = " with waivers" if any(row.headline != row.verdict for row in record.audits) else ""
    return f"{count(len(models), 'model')} × {count(len(targets), 'target')}: {record.verdict}{waived}"


def reasons_of(record: CampaignRecord) -> Iterator[tuple[str, list[str]]]:
    """The audits that did not pass, each with its first reasons. A model that could not be loaded is named once."""
    told = set()
    for row in record.audits:
        if row.verdict == AuditVerdict.PASS or (row.state == "not audited" and row.reference in told):
            continue
        told |= {row.reference} if row.state == "not audited" else set()
        head = (
            f"{one_line(row.model)}, not audited:"
            if row.state == "not audited"
            else (f"{one_line(row.model)}, {one_line(row.target)}: {one_line(row.headline)}")
        )
        reasons = [one_line(reason) for reason in row.reasons]
        more = len(reasons) - MOST_REASONS
        yield head, reasons[:MOST_REASONS] + ([f"and {count(more, 'more reason')}: see the report"] if more > 0 else [])


def notes_of(record: CampaignRecord) -> Iterator[str]:
    """What else the audits say: whether they are release evidence, and their warnings. What several say is said once, with their names."""
    for kind in ("standing", "warnings"):
        said: dict[str, list[AuditRow]] = {}
        for row in record.audits:
            for sentence in getattr(row, kind):
                said.setdefault(sentence, []).append(row)
        concluded = sum(row.state == "concluded" for row in record.audits)
        for sentence, rows in said.items():
            names = "; ".join(f"{one_line(row.model)}, {one_line(row.target)}" for row in rows)
            of = "" if len(rows) == concluded else f"{names}: "
            yield f"{'warning: ' if kind == 'warnings' else ''}{of}{sentence}"


def figures_text(figures: Figures | None) -> str:
    """An estimate and its upper bound, rounded up, such as "2% ≤ 9%"; a dash if there is none."""
    if figures is None or figures.estimate is None:
        return "–"
    estimate = _percent(figures.estimate)
    upper = _percent(figures.upper, math.ceil) if is_number(figures.upper) else ""
    return f"{estimate} ≤ {upper}" if upper and (estimate, upper) != ("100%", "100%") else estimate


_SHORT = {"adversarial": "advers."}


def _percent(rate: float | None, rounding: Callable[[float], float] = round) -> str:
    return f"{rounding(round(100 * rate, 9)):.0f}%" if is_number(rate) else "–"


def _cell(row: AuditRow, name: str) -> str:
    return one_line(row.headline if name == "verdict" else getattr(row, name))


def _images(row: AuditRow) -> str:
    seconds = "" if row.seconds is None else f", {row.seconds:,.0f} s"
    return f"{row.rendered:,} images drawn, {row.reused:,} reused{seconds}"


def _url(folder: str) -> str:
    from urllib.parse import quote

    return quote(folder)
