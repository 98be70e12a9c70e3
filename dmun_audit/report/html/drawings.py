"""Geometry of the page's drawings: positions of the marks of intervals and scatter plots, in SVG units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.report.formatting import claim_text, deciding_bound, is_number, is_rate, on_scale, one_line


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
    labels = [(tick, anchor, f"{limit} {on_scale(claim, threshold)}", True)]
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


@dataclass(frozen=True)
class Point:
    """One concept in the scatter plot: its position, its role, and its label with position and anchor."""

    x: float
    y: float
    role: str
    label: str
    label_x: float
    label_y: float
    anchor: str
    far: bool  # whether the label needs a line to its mark
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
_NEAR = 8  # number of places next to the mark; a label further away gets a line to it
_ROUNDS = 4  # number of passes in which each label is placed anew among the others

_Box = tuple[float, float, float, float]


class _Place(NamedTuple):
    rank: int  # lower ranks are nearer to the mark
    x: float
    y: float
    anchor: str


NAMED_POINTS = 14  # a plot with more points has numbers instead of names, which would cover marks


def scatter(title: str, concepts: Sequence[tuple[str, str, Any, Any]], floors: Sequence[Any] = ()) -> Scatter | None:
    """Plot (name, role, similarity, damage) of each concept; None if there is nothing to plot.

    `floors`, if given, holds the noise floor of each concept's damage, or None. With more than `NAMED_POINTS` concepts a label
    is the concept's index (from 1) in `concepts`.
    """
    numbered = len(concepts) > NAMED_POINTS
    placed = [(str(place) if numbered else _shortened(one_line(row[0])), *row) for place, row in enumerate(concepts, 1)]
    limits = [float(floor) if is_number(floor) else None for floor in floors] or [None] * len(placed)
    plotted = [(row, limit) for row, limit in zip(placed, limits, strict=True) if is_number(row[3]) and is_number(row[4])]
    rows = [row for row, _ in plotted]
    if not rows:
        return None
    x_values = _ticks([0.0, 1.0, *(row[3] for row in rows)])
    y_values = _ticks([0.0, *(row[4] for row in rows), *(limit for _, limit in plotted if limit is not None)])

    def across(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - x_values[0]) / (x_values[-1] - x_values[0]), 2)

    def up(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - y_values[0]) / (y_values[-1] - y_values[0]), 2)

    marks = [(across(similarity), up(damage)) for _, _, _, similarity, damage in rows]
    labels = [row[0] for row in rows]
    floors_at = [None if limit is None else up(limit) for _, limit in plotted]
    dashes = [(x - 9, y - 3, x + 9, y + 3) for (x, _), y in zip(marks, floors_at, strict=True) if y is not None]
    points = [
        Point(
            x=x,
            y=y,
            role=one_line(role),
            label=label,
            label_x=place.x,
            label_y=place.y,
            anchor=place.anchor,
            far=place.rank >= _NEAR,
            floor=floor_at,
            description=f"{one_line(name)} ({one_line(role)}): similarity {similarity:.2f}, damage {damage:.3g}"
            + ("" if limit is None else f", noise floor {limit:.3g}"),
        )
        for ((label, name, role, similarity, damage), limit), (x, y), floor_at, place in zip(
            plotted, marks, floors_at, _label_places(labels, marks, dashes), strict=True
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


def _label_places(labels: Sequence[str], marks: Sequence[tuple[float, float]], dashes: Sequence[_Box]) -> list[_Place]:
    """The place of each label: the place near its mark that covers least of the marks, the dashes and the other labels."""
    fixed = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    chosen: dict[int, _Place] = {}
    for _ in range(_ROUNDS):
        for number, (label, (x, y)) in enumerate(zip(labels, marks, strict=True)):
            others = [_box(place, labels[other]) for other, place in chosen.items() if other != number]
            taken = [*fixed[:number], *fixed[number + 1 :], *dashes, *others]
            costs = [(_cost(place, label, taken), place) for place in _places(x, y)]
            chosen[number] = min(costs)[1]
    return [chosen[number] for number in range(len(labels))]


def _places(x: float, y: float) -> list[_Place]:
    near = [(9, 4), (-9, 4), (0, -10), (0, 19), (8, -6), (-8, -6), (8, 15), (-8, 15)]
    far = [(9, -20), (-9, -20), (9, 29), (-9, 29), (0, -26), (0, 35)]
    return [
        _Place(rank, round(x + dx, 2), round(y + dy, 2), "start" if dx > 0 else "end" if dx < 0 else "middle")
        for rank, (dx, dy) in enumerate([*near, *far])
    ]


def _cost(place: _Place, label: str, taken: Sequence[_Box]) -> float:
    left, top, right, bottom = box = _box(place, label)
    outside = max(0.0, _LEFT - left) + max(0.0, right - WIDTH) + max(0.0, _TOP - 14 - top) + max(0.0, bottom - _BOTTOM)
    covered = sum(_shared(box, other) for other in taken)
    return 40.0 * outside + covered + (2.0 if place.rank < _NEAR else 8.0) * place.rank


def _box(place: _Place, label: str) -> _Box:
    length = _LETTER * len(label)
    start = place.x - {"start": 0.0, "middle": length / 2, "end": length}[place.anchor]
    return start - 3, place.y - _LINE + 2, start + length + 3, place.y + 3


def _shared(box: _Box, other: _Box) -> float:
    """The area that two boxes share."""
    width, height = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


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
