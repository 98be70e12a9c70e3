"""Geometry of the page's drawings: where the marks of an interval and of a scatter plot stand, in SVG units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmun_audit.report.words import claim_words, deciding_bound, is_number, on_scale, one_line


@dataclass(frozen=True)
class Interval:
    """A claim's bounds beside its threshold: x positions, and the labels under the axis as (x, anchor, text, strong)."""

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


def interval(claim: Mapping[str, Any] | None) -> Interval | None:
    """The drawing of a claim, or None where it lacks a bound or a threshold."""
    if not claim or not all(is_number(claim.get(part)) for part in ("lower", "upper", "threshold")):
        return None
    low, high, threshold = float(claim["lower"]), float(claim["upper"]), float(claim["threshold"])
    start, end = _domain(claim, low, high, threshold)

    def place(value: float) -> float:
        share = (value - start) / (end - start)
        return round(_INSET + (INTERVAL_WIDTH - 2 * _INSET) * min(1.0, max(0.0, share)), 2)

    side, _, limit = deciding_bound(claim)
    first, last, tick = place(start), place(end), place(threshold)
    anchor = "middle" if _LABEL_ROOM < tick < INTERVAL_WIDTH - _LABEL_ROOM else "start" if tick <= _LABEL_ROOM else "end"
    labels = [(tick, anchor, f"{limit} {on_scale(claim, threshold)}", True)]
    reach = 2 * _LABEL_ROOM
    if tick - first > reach:
        labels.append((first, "start", on_scale(claim, start), False))
    if last - tick > reach:
        labels.append((last, "end", on_scale(claim, end), False))
    estimate = claim.get("estimate")
    return Interval(
        width=INTERVAL_WIDTH,
        allowed=(tick, last) if side == "lower" else (first, tick),
        low=place(low),
        high=place(high),
        estimate=place(float(estimate)) if is_number(estimate) else None,
        threshold=tick,
        labels=tuple(labels),
        description=claim_words(claim),
    )


def _domain(claim: Mapping[str, Any], low: float, high: float, threshold: float) -> tuple[float, float]:
    if deciding_bound(claim)[0] == "lower":
        return _round_down(min(low, threshold)), 1.0 if max(high, threshold) <= 1 else high
    start = min(0.0, low)
    return -_round_up(-start) if start < 0 else 0.0, _round_up(max(high, threshold) * 1.05)


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(value))
    return next(round(step * times, 12) for times in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * times >= value - 1e-12)


def _round_down(value: float) -> float:
    return max(0.0, math.floor(value * 10 - 1) / 10) if value > 0 else value


@dataclass(frozen=True)
class Point:
    """One concept in the scatter plot: where it stands, its mark, its label and where that starts or ends."""

    x: float
    y: float
    role: str
    label: str
    label_x: float
    label_y: float
    anchor: str
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


WIDTH, HEIGHT = 420.0, 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 404.0, 18.0, 272.0
_LETTER, _LINE = 6.1, 13.0  # room that a letter and a line of a label take
_LONGEST = 24


def scatter(title: str, concepts: Sequence[tuple[str, str, float, float]]) -> Scatter | None:
    """Plot (name, role, similarity, damage) of each concept; None where there is nothing to plot."""
    known = [concept for concept in concepts if is_number(concept[2]) and is_number(concept[3])]
    if not known:
        return None
    x_values, y_values = _ticks([0.0, 1.0, *(c[2] for c in known)]), _ticks([0.0, *(c[3] for c in known)])

    def across(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - x_values[0]) / (x_values[-1] - x_values[0]), 2)

    def up(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - y_values[0]) / (y_values[-1] - y_values[0]), 2)

    marks = [(across(similarity), up(damage)) for _, _, similarity, damage in known]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    points = []
    for (name, role, similarity, damage), (x, y) in sorted(zip(known, marks, strict=True), key=lambda pair: pair[1]):
        label = one_line(name)
        label = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
        label_x, label_y, anchor = _room_for(label, x, y, taken)
        said = f"{one_line(name)} ({one_line(role)}): similarity {similarity:.2f}, damage {damage:.3g}"
        points.append(Point(x, y, one_line(role), label, label_x, label_y, anchor, said))
    return Scatter(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_ticks=tuple((across(value), f"{value:g}") for value in x_values),
        y_ticks=tuple((up(value), f"{value:g}") for value in y_values),
        zero=up(0.0) if y_values[0] < 0 else None,
        points=tuple(points),
        description=f"{title} against similarity. " + "; ".join(point.description for point in points),
    )


def _room_for(label: str, x: float, y: float, taken: list[tuple[float, float, float, float]]) -> tuple[float, float, str]:
    """Where the label fits beside its mark with the least overlap; what it takes is added to `taken`."""
    length = _LETTER * len(label)
    places = [
        (x + dx, y + dy, "start" if dx > 0 else "end" if dx < 0 else "middle")
        for reach in (0.0, 10.0, 20.0)
        for dx, dy in (
            (9, 4), (-9, 4), (0, -10 - reach), (0, 19 + reach), (8, -6 - reach), (-8, -6 - reach), (8, 15 + reach),
            (-8, 15 + reach),
        )
    ]  # fmt: skip
    best, least = places[0], math.inf
    for place in places:
        box = _box(place, length)
        outside = max(0.0, _LEFT - box[0]) + max(0.0, box[2] - WIDTH) + max(0.0, _TOP - 14 - box[1]) + max(0.0, box[3] - _BOTTOM)
        cost = 40.0 * outside + sum(_shared(box, other) for other in taken)
        if cost < least - 1e-9:
            best, least = place, cost
    taken.append(_box(best, length))
    return round(best[0], 2), round(best[1], 2), best[2]


def _box(place: tuple[float, float, str], length: float) -> tuple[float, float, float, float]:
    x, y, anchor = place
    start = x - {"start": 0.0, "middle": length / 2, "end": length}[anchor]
    return start, y - _LINE + 2, start + length, y + 3


def _shared(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round numbers that span `values`."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = next(s for s in (10.0 ** math.floor(math.log10(span) - 1) * t for t in (1, 2, 2.5, 5, 10, 20)) if span / s <= 5.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * tick, 12) + 0.0 for tick in range(first, max(last, first + 1) + 1)]
