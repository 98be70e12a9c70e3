"""What the page says of nearby concepts beyond labels and scores: distances beside their noise floor, quality, empty images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import number, one_line, percent
from dmun_audit.report.html.drawings import FloorBar, floor_bar

Measures = Mapping[str, float]


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


def view_measured(records: Sequence[CaseRecord]) -> MeasuredView | None:
    """The view of nearby concepts' records; a column stands where any of them has its measures. None without columns."""
    every: list[Measures] = [record.measures for record in records]
    columns = [column for column in _COLUMNS if any(column[2] in one for one in every)]
    if not columns:
        return None
    rows = tuple(
        (record.case_id, one_line(record.concept.name if record.concept else ""), tuple(cell(one, every) for *_, cell in columns))
        for record, one in zip(records, every, strict=True)
    )
    return MeasuredView(tuple((title, under) for title, under, *_ in columns), rows)


def _beside_floor(distance: str, floor: str, digits: int = 2) -> Callable[[Measures, Sequence[Measures]], Cell]:
    def cell(one: Measures, every: Sequence[Measures]) -> Cell:
        if distance not in one or floor not in one:
            return Cell(number(one.get(distance), digits))
        longest = max(other[name] for other in every for name in (distance, floor) if name in other)
        value, limit = one[distance], one[floor]
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
