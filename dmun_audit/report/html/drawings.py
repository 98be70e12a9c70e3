"""Geometry of the page's drawings: positions of the marks of intervals and scatter plots, in SVG units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from dmun_audit._util.terminal import display_width
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.report.formatting import claim_text, deciding_bound, is_number, is_rate, limit_on_scale, on_scale, one_line


@dataclass(frozen=True)
class Interval:
    """A claim's bounds and its threshold as x positions. Labels under the axis are (x, anchor, text, strong)."""

    width: float
    allowed: tuple[float, float]
    low: float
    high: float
    estimate: float | None
    threshold: float
    labels: tuple[tuple[float, str, str, bool], ...]
    description: str


INTERVAL_WIDTH = 260.0
_INSET = 8.0
_LABEL_ROOM = 46.0  # two labels nearer than this would touch


def interval(claim: ClaimRecord | None) -> Interval | None:
    """The drawing of a claim; None if it lacks a bound or a threshold."""
    if claim is None or claim.lower is None or claim.upper is None or claim.threshold is None:
        return None
    low, high, threshold = claim.lower, claim.upper, claim.threshold
    start, end = _domain(claim, low, high, threshold)

    def place(value: float) -> float:
        share = (value - start) / (end - start)
        return round(_INSET + (INTERVAL_WIDTH - 2 * _INSET) * min(1.0, max(0.0, share)), 2)

    side, _, limit = deciding_bound(claim)
    first, last, tick = place(start), place(end), place(threshold)
    anchor = "start" if tick <= _LABEL_ROOM else "end" if tick >= INTERVAL_WIDTH - _LABEL_ROOM else "middle"
    labels = [(tick, anchor, f"{limit} {limit_on_scale(claim)}", True)]
    reach = 2 * _LABEL_ROOM
    if tick - first > reach:
        labels.append((first, "start", on_scale(claim, start), False))
    if last - tick > reach:
        labels.append((last, "end", on_scale(claim, end), False))
    return Interval(
        width=INTERVAL_WIDTH,
        allowed=(tick, last) if side == "lower" else (first, tick),
        low=place(low),
        high=place(high),
        estimate=place(claim.estimate) if claim.estimate is not None else None,
        threshold=tick,
        labels=tuple(labels),
        description=claim_text(claim),
    )


def _domain(claim: ClaimRecord, low: float, high: float, threshold: float) -> tuple[float, float]:
    if deciding_bound(claim)[0] == "lower":
        return _round_down(min(low, threshold)), 1.0 if max(high, threshold) <= 1 else high
    start = min(0.0, low)
    end = _round_up(max(high, threshold) * 1.05)
    return -_round_up(-start) if start < 0 else 0.0, min(end, 1.0) if max(high, threshold) <= 1 and is_rate(claim) else end


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(value))
    steps = (step * times for times in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10))
    return next(round(bound, 12) for bound in steps if bound >= value - 1e-12)


def _round_down(value: float) -> float:
    return max(0.0, math.floor(value * 10 - 1) / 10) if value > 0 else value


@dataclass(frozen=True)
class FloorBar:
    """A distance as a bar from 0, and the position of its noise floor."""

    width: float
    length: float
    floor: float


def floor_bar(distance: float, floor: float, longest: float) -> FloorBar:
    """The bar of `distance` and its `floor`, on a scale from 0 to `longest`. Negative values have no length."""

    def place(value: float) -> float:
        return round(1.0 + (_BAR_WIDTH - 2.0) * min(1.0, max(0.0, value / longest)), 2) if longest > 0 else 1.0

    return FloorBar(_BAR_WIDTH, place(distance) - 1.0, place(floor))


_BAR_WIDTH = 120.0


_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A text beside a mark: its position, and where the text has its anchor."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> _Box:
        """The left, upper, right and lower end of the text, with a little room."""
        length = _LETTER * display_width(self.text)
        start = self.x - {"start": 0.0, "middle": length / 2, "end": length}[self.anchor]
        return start - 3, self.y - _LINE + 2, start + length + 3, self.y + 3


@dataclass(frozen=True)
class Point:
    """One concept in the scatter plot: its position, its role, and its label, if there is room for one."""

    x: float
    y: float
    role: str
    label: Label | None
    floor: float | None  # the y position of the noise floor of its damage
    description: str


@dataclass(frozen=True)
class Scatter:
    """Damage against similarity: points and axes in SVG units; ticks are (position, text)."""

    title: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    zero: float | None
    points: tuple[Point, ...]
    description: str


WIDTH, HEIGHT = 400.0, 312.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 380.0, 18.0, 266.0
_LETTER, _LINE = 6.2, 13.0  # width of a letter and height of a line of a label
_LONGEST = 24  # letters of a label


def scatter(title: str, concepts: Sequence[tuple[str, str, Any, Any]], floors: Sequence[Any] = ()) -> Scatter | None:
    """Plot (name, role, similarity, damage) of each concept; None if there is nothing to plot.

    `floors`, if given, holds the noise floor of each concept's damage, or None. A concept has its name beside it as long as
    there is room, those with the most unusual damage first.
    """
    limits = [float(floor) if is_number(floor) else None for floor in floors] or [None] * len(concepts)
    plotted = [(row, limit) for row, limit in zip(concepts, limits, strict=True) if is_number(row[2]) and is_number(row[3])]
    rows = [row for row, _ in plotted]
    if not rows:
        return None
    x_values = _ticks([0.0, 1.0, *(row[2] for row in rows)])
    y_values = _ticks([0.0, *(row[3] for row in rows), *(limit for _, limit in plotted if limit is not None)])

    def across(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - x_values[0]) / (x_values[-1] - x_values[0]), 2)

    def up(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - y_values[0]) / (y_values[-1] - y_values[0]), 2)

    marks = [(across(similarity), up(damage)) for _, _, similarity, damage in rows]
    names = [_shortened(one_line(row[0])) for row in rows]
    floors_at = [None if limit is None else up(limit) for _, limit in plotted]
    dashes = [(x - 9, y - 3, x + 9, y + 3) for (x, _), y in zip(marks, floors_at, strict=True) if y is not None]
    points = [
        Point(
            x=x,
            y=y,
            role=one_line(role),
            label=label,
            floor=floor_at,
            description=f"{one_line(name)} ({one_line(role)}): similarity {similarity:.2f}, damage {damage:.3g}"
            + ("" if limit is None else f", noise floor {limit:.3g}"),
        )
        for ((name, role, similarity, damage), limit), (x, y), floor_at, label in zip(
            plotted, marks, floors_at, _labels(names, marks, dashes), strict=True
        )
    ]
    power = _thousands(y_values)
    return Scatter(
        title=f"{title} (×10{power})" if power else title,
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_ticks=tuple((across(value), f"{value:g}") for value in x_values),
        y_ticks=tuple((up(value), f"{value * _POWERS[power]:g}") for value in y_values),
        zero=up(0.0) if y_values[0] < 0 else None,
        points=tuple(points),
        description=f"{title} against similarity. " + "; ".join(point.description for point in points),
    )


def _labels(names: Sequence[str], marks: Sequence[tuple[float, float]], dashes: Sequence[_Box]) -> list[Label | None]:
    """The label of each mark where it covers no other mark, dash or label; None where there is no such place."""
    fixed = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    middle = median(y for _, y in marks)
    chosen: dict[int, Label] = {}
    for number in sorted(range(len(marks)), key=lambda number: -abs(marks[number][1] - middle)):
        taken = [*fixed[:number], *fixed[number + 1 :], *dashes, *(label.box for label in chosen.values())]
        free = (label for label in _beside(names[number], *marks[number]) if _is_free(label.box, taken))
        if (label := next(free, None)) is not None:
            chosen[number] = label
    return [chosen.get(number) for number in range(len(names))]


def _beside(name: str, x: float, y: float) -> Iterator[Label]:
    """The label to the right of its mark, to the left, above and below. The last two are moved into the plot."""
    yield Label(name, round(x + 9, 2), round(y + 4, 2), "start")
    yield Label(name, round(x - 9, 2), round(y + 4, 2), "end")
    for dy in (-10, 19):
        left, _, right, _ = Label(name, x, y, "middle").box
        inwards = max(0.0, _LEFT - left) - max(0.0, right - WIDTH)
        yield Label(name, round(x + inwards, 2), round(y + dy, 2), "middle")


def _is_free(box: _Box, taken: Sequence[_Box]) -> bool:
    """Whether a box lies inside the plot and shares no area with others."""
    left, top, right, bottom = box
    inside = left >= _LEFT - 0.1 and right <= WIDTH + 0.1 and top >= _TOP - 14 and bottom <= _BOTTOM
    return inside and not any(left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken)


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


_POWERS = {"": 1.0, "⁻³": 1e3, "⁻⁶": 1e6}


def _thousands(values: Sequence[float]) -> str:
    """The power of ten that scales small values so that their digits fit beside an axis; empty for other values."""
    most = max(map(abs, values))
    return "" if most >= 0.02 else "⁻³" if most >= 2e-5 else "⁻⁶"


def _ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round numbers that span `values`."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span) - 1)
    step = next(unit * times for times in (1, 2, 2.5, 5, 10, 20) if span / (unit * times) <= 5.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * tick, 12) + 0.0 for tick in range(first, max(last, first + 1) + 1)]
