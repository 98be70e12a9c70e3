"""The table of further measures of nearby concepts: distances with their noise floor, image quality, empty images.

The table of metrics that the user or another package added has its columns in `named_metrics`.
"""

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
    """One measure of one concept. `bar` shows it with its noise floor; `above`: whether it exceeds the noise floor."""

    text: str
    note: str = ""
    bar: FloorBar | None = None
    above: bool = False


@dataclass(frozen=True)
class MeasuredView:
    """A table: its name in the page, heading and caption; columns as (heading, subheading); notes; and for each concept its case id,
    its name and its cells.
    """

    anchor: str
    heading: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def view_measured(records: Sequence[CaseRecord]) -> MeasuredView | None:
    """The view of nearby concepts' records; None without measures. A column needs a record with its measure."""
    measures_of_all: list[Measures] = [record.measures for record in records]
    columns = [column for column in _COLUMNS if any(column[2] in measures for measures in measures_of_all)]
    if not columns:
        return None
    rows = rows_of(records, lambda measures: tuple(cell(measures, measures_of_all) for _, _, _, cell, _ in columns))
    return MeasuredView(
        "measured",
        "Distances and image quality",
        "Distances between images of base and candidate, and quality, by nearby concept",
        tuple((title, subtitle) for title, subtitle, *_ in columns),
        tuple(note for *_, note in columns),
        rows,
    )


def rows_of(
    records: Sequence[CaseRecord], cells: Callable[[Measures], tuple[Cell, ...]]
) -> tuple[tuple[str, str, tuple[Cell, ...]], ...]:
    """The rows of a table of nearby concepts: case id, name, and the cells of the record's measures."""
    return tuple(
        (record.case_id, one_line(record.concept.name if record.concept else ""), cells(record.measures)) for record in records
    )


def _with_floor(distance: str, floor: str, digits: int = 2) -> Callable[[Measures, Sequence[Measures]], Cell]:
    def cell(measures: Measures, measures_of_all: Sequence[Measures]) -> Cell:
        if distance not in measures or floor not in measures:
            return Cell(number(measures.get(distance), digits))
        longest = max(other[name] for other in measures_of_all for name in (distance, floor) if name in other)
        value, limit = measures[distance], measures[floor]
        return Cell(number(value, digits), f"floor {number(limit, digits)}", floor_bar(value, limit, longest), value > limit)

    return cell


def _plain(name: str) -> Callable[[Measures, Sequence[Measures]], Cell]:
    return lambda measures, _: Cell(number(measures.get(name), 2))


def _before_and_after(stem: str, text_of: Callable[[Any], str]) -> Callable[[Measures, Sequence[Measures]], Cell]:
    return lambda measures, _: Cell(f"{text_of(measures.get(f'{stem}_base'))} → {text_of(measures.get(f'{stem}_candidate'))}")


def _short(value: Any) -> str:
    return number(value, 2)


_COLUMNS: tuple[tuple[str, str, str, Callable[[Measures, Sequence[Measures]], Cell], str], ...] = (
    (
        "KID over other seeds",
        "with its noise floor",
        "kid_noise_floor",
        _with_floor("kid_unpaired", "kid_noise_floor"),
        "The noise floor is the effect of seeds alone: 95% of random splits of the base images give a smaller distance between the "
        "two halves. A KID above the noise floor (bold, with the bar beyond the mark) is not an effect of seeds. A KID below it may "
        "still be a change, because the halves are small; the paired test with its p-value is more sensitive.",
    ),
    ("CMMD, paired", "", "cmmd_paired", _plain("cmmd_paired"), "KID and CMMD measure nearly the same on two scales."),
    (
        "LPIPS",
        "mean over pairs",
        "lpips",
        _plain("lpips"),
        "LPIPS is 0 for equal images and grows with every change, harmless changes included.",
    ),
    (
        "CLIP-IQA",
        "base → candidate",
        "clip_iqa_candidate",
        _before_and_after("clip_iqa", _short),
        "CLIP-IQA is the judge's share for “Good photo.” against “Bad photo.”. It is meaningful only if the judge was trained on "
        "such words.",
    ),
    (
        "Empty images",
        "base → candidate",
        "collapsed_candidate",
        _before_and_after("collapsed", percent),
        "Empty images are nearly one colour or pure noise.",
    ),
)
"""Heading, subheading, the measure that a column needs, its cell from the measures of one and of all concepts, and a note."""
