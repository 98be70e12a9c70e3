"""What the page says of nearby concepts beyond labels and scores: distances beside their noise floor, quality, empty images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmun_audit.report.formatting import is_number, number, one_line, percent
from dmun_audit.report.html.drawings import FloorBar, floor_bar
from dmun_audit.report.run import Record

Measures = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One measure of one concept; `bar` shows it beside its noise floor, `above` says whether it rises over that."""

    text: str
    note: str = ""
    bar: FloorBar | None = None
    above: bool = False


@dataclass(frozen=True)
class MeasuredView:
    """The table: columns as (heading, what stands under it), and for each concept its case, its name and its cells."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def view_measured(records: Sequence[Record]) -> MeasuredView | None:
    """The view of nearby concepts' records; a column stands where any of them has its measures. None without columns."""
    every: list[Measures] = [record.get("measures") or {} for record in records]
    columns = [column for column in _COLUMNS if any(is_number(one.get(column[2])) for one in every)]
    if not columns:
        return None
    rows = tuple(
        (str(record["case_id"]), one_line(record["concept"].get("name")), tuple(cell(one, every) for *_, cell in columns))
        for record, one in zip(records, every, strict=True)
    )
    return MeasuredView(tuple((title, under) for title, under, *_ in columns), rows)


def _beside_floor(distance: str, floor: str, digits: int = 2) -> Callable[[Measures, Sequence[Measures]], Cell]:
    def cell(one: Measures, every: Sequence[Measures]) -> Cell:
        if not (is_number(one.get(distance)) and is_number(one.get(floor))):
            return Cell(number(one.get(distance), digits))
        longest = max(float(other[name]) for other in every for name in (distance, floor) if is_number(other.get(name)))
        value, limit = float(one[distance]), float(one[floor])
        return Cell(number(value, digits), f"floor {number(limit, digits)}", floor_bar(value, limit, longest), value > limit)

    return cell


def _plain(name: str) -> Callable[[Measures, Sequence[Measures]], Cell]:
    return lambda one, every: Cell(number(one.get(name), 2))


def _before_and_after(stem: str, shown: Callable[[Any], str]) -> Callable[[Measures, Sequence[Measures]], Cell]:
    return lambda one, every: Cell(f"{shown(one.get(f'{stem}_base'))} → {shown(one.get(f'{stem}_candidate'))}")


def _short(value: Any) -> str:
    return number(value, 2)


# Heading, what stands under it, the measure that the column needs, and how a cell comes of a concept's measures and of all.
_COLUMNS: tuple[tuple[str, str, str, Callable[[Measures, Sequence[Measures]], Cell]], ...] = (
    ("KID over other seeds", "beside its noise floor", "kid_noise_floor", _beside_floor("kid_unpaired", "kid_noise_floor")),
    ("CMMD, paired", "", "cmmd_paired", _plain("cmmd_paired")),
    ("LPIPS", "mean over pairs", "lpips", _plain("lpips")),
    ("CLIP-IQA", "base → candidate", "clip_iqa_candidate", _before_and_after("clip_iqa", _short)),
    ("Empty images", "base → candidate", "collapsed_candidate", _before_and_after("collapsed", percent)),
)
