"""The table of metrics that the user named with --metric, and of metrics of other packages, by nearby concept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dmun_audit.evidence.schema import CaseRecord, JsonObject
from dmun_audit.measures.metric_kind import FEATURES, IMAGES, PROMPTS
from dmun_audit.measures.references import metric_note, metric_title
from dmun_audit.measures.registry import BUILT_IN
from dmun_audit.report.formatting import number, one_line, percent
from dmun_audit.report.html.measured import Cell, MeasuredView, Measures, rows_of

MOST_SHARES = 4
"""Labels that a cell shows. They are those whose shares changed most."""

STANDARD_ERROR = "± is the standard error of the mean difference, over prompts."
_PARTS = {
    "base": "base",
    "candidate": "candidate",
    "difference": "candidate minus base, mean over pairs",
    "standard_error": "standard error of that difference",
    IMAGES: "pairs of images",
    PROMPTS: "different prompts",
    FEATURES: "number of features",
    "real_base": "from real images, base",
    "real_candidate": "from real images, candidate",
    "real_images": "real images",
    "total_variation": "total variation distance",
}


@dataclass(frozen=True)
class _Column:
    """A column of one metric: its headings and its cell."""

    title: str
    subtitle: str
    cell: Callable[[Measures], Cell]


def view_named_metrics(records: Sequence[CaseRecord], named: Sequence[JsonObject]) -> MeasuredView | None:
    """The view of nearby concepts' records; None without such metrics. `named` are the metrics of the manifest: they come first."""
    values = {name for record in records for name in record.measures if name not in BUILT_IN}
    found = {name.partition(".")[0] for name in values}
    references = {str(entry.get("name", "")): str(entry.get("reference", "")) for entry in named}
    names = [*(name for name in references if name in found), *sorted(found - references.keys())]
    columns = [column for name in names for column in _columns(name, values)]
    if not columns:
        return None
    notes = [metric_note(references.get(name, "")) for name in names]
    notes += [_rests_on(name, [record.measures for record in records]) for name in names]
    notes += [STANDARD_ERROR] if any(value.endswith(".standard_error") for value in values) else []
    return MeasuredView(
        "metrics",
        "Further metrics",
        "Values of further metrics by nearby concept",
        tuple((column.title, column.subtitle) for column in columns),
        tuple(dict.fromkeys(note for note in notes if note)),
        rows_of(records, lambda measures: tuple(column.cell(measures) for column in columns)),
    )


def measure_title(name: str) -> str:
    """How the page calls one value of a metric, such as `csd.images`."""
    stem, _, part = name.partition(".")
    words = [_PARTS.get(part, part.replace(".", ", "))] if part else []
    return one_line(", ".join([metric_title(stem), *words]))


def _columns(name: str, values: set[str]) -> list[_Column]:
    """The columns of the metric `name`. `values` are the names of all values of the run."""
    own = {value.partition(".")[2] for value in values if value.partition(".")[0] == name}
    title, shown = one_line(metric_title(name)), {IMAGES, PROMPTS, FEATURES, "real_images"}
    columns = []
    if "" in own:
        columns.append(_Column(title, "base to candidate" if IMAGES in own else "", _single(name, f"{name}.{IMAGES}")))
        shown |= {""}
    if (real := {"real_base", "real_candidate"}) <= own:
        columns.append(_Column(title, "from real images: base → candidate", _both(f"{name}.real_base", f"{name}.real_candidate")))
        shown |= real
    if (sides := {"base", "candidate"}) <= own:
        columns.append(_Column(title, "base → candidate", _both(f"{name}.base", f"{name}.candidate", name)))
        shown |= sides | {"difference", "standard_error"}
    if "total_variation" in own:
        columns.append(_Column(title, "total variation distance", _shares(name)))
        shown |= {part for part in own if part.startswith(("base.", "candidate."))} | {"total_variation"}
    others = sorted(own - shown)
    return columns + [_Column(title, one_line(part.replace("_", " ")), _single(f"{name}.{part}")) for part in others]


def _single(name: str, images: str = "") -> Callable[[Measures], Cell]:
    def cell(measures: Measures) -> Cell:
        rests_on = measures.get(images)
        return Cell(number(measures.get(name)), f"{number(rests_on)} pairs" if rests_on is not None else "")

    return cell


def _both(base: str, candidate: str, name: str = "") -> Callable[[Measures], Cell]:
    """Two values with an arrow; with the `name` of a metric, also their mean difference and its standard error."""

    def cell(measures: Measures) -> Cell:
        text = f"{number(measures.get(base))} → {number(measures.get(candidate))}"
        difference, error = (measures.get(f"{name}.{part}") for part in ("difference", "standard_error"))
        if not name or difference is None:
            return Cell(text)
        return Cell(text, f"{_signed(difference)}{'' if error is None else f' ± {number(error, 2)}'}")

    return cell


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{number(abs(value), 2)}"


def _shares(name: str) -> Callable[[Measures], Cell]:
    def cell(measures: Measures) -> Cell:
        shares = {side: _parts(measures, f"{name}.{side}.") for side in ("base", "candidate")}
        labels = shares["base"].keys() | shares["candidate"].keys()
        change = {label: abs(shares["candidate"].get(label, 0.0) - shares["base"].get(label, 0.0)) for label in sorted(labels)}
        shown = sorted(sorted(change, key=lambda label: -change[label])[:MOST_SHARES])
        words = [f"{label} {_arrow(shares, label)}" for label in shown]
        words += [f"{number(measures[images])} pairs"] if (images := f"{name}.{IMAGES}") in measures else []
        return Cell(number(measures.get(f"{name}.total_variation"), 2), one_line(", ".join(words)))

    return cell


def _arrow(shares: Mapping[str, Mapping[str, float]], label: str) -> str:
    return f"{percent(shares['base'].get(label, 0.0))} → {percent(shares['candidate'].get(label, 0.0))}"


def _parts(measures: Measures, prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in measures.items() if name.startswith(prefix)}


def _rests_on(name: str, measures_of_all: Sequence[Measures]) -> str:
    """Says that a distance between sets rests on fewer images than features; empty otherwise."""
    images = [measures[f"{name}.{IMAGES}"] for measures in measures_of_all if f"{name}.{IMAGES}" in measures]
    features = [measures[f"{name}.{FEATURES}"] for measures in measures_of_all if f"{name}.{FEATURES}" in measures]
    if not images or not features or min(images) >= max(features):
        return ""
    few, many = number(min(images)), number(max(images))
    pairs = few if few == many else f"{few} to {many}"
    return f"{one_line(metric_title(name))} rests on {pairs} pairs for each concept, fewer than its {number(max(features))} features."
