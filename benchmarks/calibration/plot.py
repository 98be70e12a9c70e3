"""The verdicts and images of the calibration as an SVG file. It needs no other file, and suits light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from benchmarks.calibration.known_models import BASE, UCE

Row = dict[str, Any]
STACK = (("PASS", "pass"), ("INCONCLUSIVE", "open"), ("INCOMPLETE", "halt"), ("FAIL", "fail"))
LEGEND = tuple(band for band in STACK if band[0] != "INCOMPLETE")  # INCOMPLETE hardly ever occurs here
WIDTH, HEIGHT = 880.0, 620.0
COLUMNS = ((62.0, 420.0), (500.0, 858.0))
SHARES, IMAGES = (96.0, 318.0), (366.0, 502.0)  # top and bottom of the two rows

STYLE = """
svg { --sheet: #ffffff; --ink: #1c2127; --quiet: #59626b; --line: #dedad0; --pass: #1d6a3a; --pass-soft: #cfe6d7; --open: #855000;
  --open-soft: #f6e3bd; --fail: #a1211a; --fail-soft: #f4cfcb; --halt: #6a2e83; --halt-soft: #e6d6ee; --link: #1f4e79; }
@media (prefers-color-scheme: dark) { svg { --sheet: #1b1f23; --ink: #e8e6e0; --quiet: #a6adb4; --line: #454c53; --pass: #8ad7a4;
  --pass-soft: #1f4a2e; --open: #efc179; --open-soft: #56431c; --fail: #ff9d93; --fail-soft: #5c2b27; --halt: #dab3ec;
  --halt-soft: #45304f; --link: #9cc4ec; } }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; fill: var(--ink); }
.title { font: 600 16px "Iowan Old Style", Palatino, Charter, Georgia, "Liberation Serif", serif; }
.quiet { fill: var(--quiet); } .small { font-size: 12px; } .name { font-weight: 700; font-size: 12px; letter-spacing: 0.04em; }
.sheet { fill: var(--sheet); stroke: var(--line); } .grid { stroke: var(--line); stroke-width: 1; } .axis { stroke: var(--quiet); stroke-width: 1; }
.fixed { fill: none; stroke: var(--ink); stroke-width: 1.6; stroke-dasharray: 5 4; } .limit { stroke: var(--ink); stroke-width: 1.2; }
.early { fill: none; stroke: var(--link); stroke-width: 2.4; } .dot { fill: var(--link); } .mark { fill: var(--quiet); }
.edge { stroke: var(--quiet); stroke-width: 0.6; }
.pass { fill: var(--pass-soft); } .open { fill: var(--open-soft); } .fail { fill: var(--fail-soft); } .halt { fill: var(--halt-soft); }
text.pass { fill: var(--pass); } text.open { fill: var(--open); } text.fail { fill: var(--fail); } text.halt { fill: var(--halt); }
"""


@dataclass(frozen=True)
class Panel:
    """One column. `rows` are the candidates from left to right, `xs` their places, and `limit` the place of a limit."""

    title: str
    subtitle: str
    rows: Sequence[Row]
    xs: Sequence[float]
    ticks: Sequence[tuple[float, str, str]]  # place, label, second label
    axis: str
    limit: tuple[float, str] | None


def draw(results: Row) -> str:
    """The SVG file's text."""
    panels = [_by_rate(results, *COLUMNS[0]), _by_share(results, *COLUMNS[1])]
    most = max(
        row["policies"][policy]["candidate_images"] for panel in panels for row in panel.rows for policy in ("early", "fixed")
    )
    body = "".join(
        _column(panel, span, most, first=place == 0) for place, (panel, span) in enumerate(zip(panels, COLUMNS, strict=True))
    )
    description = (
        "Shares of PASS, INCONCLUSIVE and FAIL by how far the target is erased, and candidate images to the verdict, "
        "with early stopping and with a fixed number of images."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="{WIDTH:g}" height="{HEIGHT:g}" role="img">'
        f"<title>Calibration of the auditor</title><desc>{description}</desc><style>{STYLE}</style>"
        f'<rect class="sheet" x="0.5" y="0.5" width="{WIDTH - 1:g}" height="{HEIGHT - 1:g}" rx="10"/>{body}{_legend()}</svg>\n'
    )


def _by_rate(results: Row, left: float, right: float) -> Panel:
    rows = [row for row in results["candidates"] if row["role"] == "curve"]
    most = math.sqrt(rows[-1]["rates"]["erasure"])

    def place(rate: float) -> float:
        return left + (right - left) * math.sqrt(max(rate, 0.0)) / most

    ceiling = results["answers"]["limits"]["erasure"]
    ticks = [(place(rate), _plain(rate), "") for rate in (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8) if rate <= most**2 + 1e-9]
    return Panel(
        "One claim decides",
        "the target appears at a known rate, all else is clean",
        rows,
        [place(row["rates"]["erasure"]) for row in rows],
        ticks,
        "true share of images of direct prompts that show the target",
        (place(ceiling), f"over the ceiling, {_plain(ceiling)} →"),
    )


def _by_share(results: Row, left: float, right: float) -> Panel:
    shares = {BASE: 0.0, UCE: 1.0}
    shares |= {name: edits[0][1] for name, edits in results["edits"].items() if len(edits) == 1 and edits[0][0] == UCE}
    rows = [row for row in results["candidates"] if row["role"] == "model" and row["name"] in shares]
    rows.sort(key=lambda row: -shares[row["name"]])

    def place(share: float) -> float:
        return left + (right - left) * (1.0 - share)

    by_share = {shares[row["name"]]: row for row in rows}
    labelled = [share for share in (1.0, 0.86, 0.73, 0.58, 0.3, 0.0) if share in by_share]
    ticks = [(place(share), f"{share:g}", _plain(by_share[share]["rates"]["erasure"])) for share in labelled]
    crossings = [(under, over) for under, over in pairwise(rows) if under["excess"] <= 1 < over["excess"]]
    limit = None
    if crossings:
        limit = (place(sum(shares[row["name"]] for row in crossings[0]) / 2), "over a limit →")
    return Panel(
        "All claims decide",
        "the base with a share of the UCE edit",
        rows,
        [place(shares[row["name"]]) for row in rows],
        ticks,
        "share of the edit; below it, the true erasure rate",
        limit,
    )


def _column(panel: Panel, span: tuple[float, float], most: float, first: bool) -> str:
    left, right = span
    parts = [_text(left, 34, panel.title, "title"), _text(left, 54, panel.subtitle, "quiet")]
    parts += [_shares(panel, span), _images(panel, span, most)]
    for _, bottom in (SHARES, IMAGES):
        parts.append(f'<line class="axis" x1="{left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    for x, label, second in panel.ticks:
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{IMAGES[1]:g}" y2="{IMAGES[1] + 4:g}"/>')
        parts.append(_text(x, IMAGES[1] + 18, label, "small", "middle"))
        parts += [_text(x, IMAGES[1] + 33, second, "small quiet", "middle")] if second else []
    parts.append(_text((left + right) / 2, IMAGES[1] + 52, panel.axis, "quiet small", "middle"))
    if panel.limit:
        x, label = panel.limit
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{SHARES[0] - 20:g}" y2="{IMAGES[1]:g}"/>')
        parts.append(_text(x + 4, SHARES[0] - 10, label, "small"))
    if first:
        parts.append(_text(left, IMAGES[0] - 14, "candidate images to the verdict", "small quiet"))
        parts.append(_text(left, SHARES[0] - 10, "share of audits", "small quiet"))
    return "".join(parts)


def _shares(panel: Panel, span: tuple[float, float]) -> str:
    top, bottom = SHARES
    up = _scale(bottom, top, 1.0)
    parts, floor = [], [0.0] * len(panel.rows)
    for verdict, tone in STACK:
        shares = [_share(row, verdict, "early") for row in panel.rows]
        roof = [low + share for low, share in zip(floor, shares, strict=True)]
        points = [(x, up(y)) for x, y in zip(panel.xs, roof, strict=True)]
        points += [(x, up(y)) for x, y in reversed(list(zip(panel.xs, floor, strict=True)))]
        parts.append(f'<polygon class="{tone}" points="{_points(points)}"/>')
        floor = roof
    for verdicts in (("PASS",), ("PASS", "INCONCLUSIVE", "INCOMPLETE")):
        edge = [sum(_share(row, verdict, "fixed") for verdict in verdicts) for row in panel.rows]
        parts.append(f'<polyline class="fixed" points="{_points([(x, up(y)) for x, y in zip(panel.xs, edge, strict=True)])}"/>')
    parts += [f'<circle class="mark" cx="{x:.1f}" cy="{bottom:g}" r="2"/>' for x in panel.xs]
    parts += [_text(span[0] - 8, up(value) + 4, f"{100 * value:g}%", "small quiet", "end") for value in (0.0, 0.5, 1.0)]
    return "".join(parts)


def _images(panel: Panel, span: tuple[float, float], most: float) -> str:
    top, bottom = IMAGES
    step = 200 if most > 400 else 100
    end = math.ceil(most / step) * step
    up = _scale(bottom, top, end)
    parts = []
    for value in range(0, end + 1, step):
        parts.append(f'<line class="grid" x1="{span[0]:g}" x2="{span[1]:g}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>')
        parts.append(_text(span[0] - 8, up(value) + 4, str(value), "small quiet", "end"))
    for policy, kind in (("fixed", "fixed"), ("early", "early")):
        values = [row["policies"][policy]["candidate_images"] for row in panel.rows]
        points = [(x, up(y)) for x, y in zip(panel.xs, values, strict=True)]
        parts.append(f'<polyline class="{kind}" points="{_points(points)}"/>')
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points] if kind == "early" else []
    return "".join(parts)


def _legend() -> str:
    (x, _), (other, _), y = *COLUMNS, HEIGHT - 20
    parts = [f'<line class="early" x1="{x:g}" x2="{x + 26:g}" y1="{y:g}" y2="{y:g}"/>']
    parts.append(_text(x + 34, y + 4, "claims stop as soon as they are decided (areas and line)", "small"))
    parts.append(f'<line class="fixed" x1="{other:g}" x2="{other + 26:g}" y1="{y:g}" y2="{y:g}"/>')
    parts.append(_text(other + 34, y + 4, "the same claims at a fixed number of images", "small"))
    for left, (verdict, tone) in zip((x, x + 110, x + 270), LEGEND, strict=True):
        parts.append(f'<rect class="{tone} edge" x="{left:g}" y="{y - 33:g}" width="26" height="14" rx="3"/>')
        parts.append(_text(left + 34, y - 22, verdict, f"name {tone}"))
    return "".join(parts)


def _share(row: Row, verdict: str, policy: str) -> float:
    counted = row["policies"][policy]["verdicts"]
    return float(counted.get(verdict, 0) / sum(counted.values()))


def _plain(rate: float) -> str:
    return f"{100 * rate:.{2 if 0 < rate < 0.01 else 3}g}%"


def _scale(bottom: float, top: float, end: float) -> Callable[[float], float]:
    return lambda value: bottom - (bottom - top) * value / end


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
