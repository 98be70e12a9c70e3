"""The section on attacks with the weights in hand: pictures first, then what was tried, what it cost and what came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmun_audit.claim_groups.probe_decision import Rate, attack_rates, curves_of, rate, works_on_base
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, DoseRecord, FindRecord, ImageRecord, ProbeImage, ProbeRecord
from dmun_audit.report.formatting import attack_title, count, one_line
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail

ROWS_SHOWN = 4  # units whose pictures a card shows
COLUMNS = ("original model", "candidate", "candidate under attack", "control under attack")
WIDTH, HEIGHT, INSET, TOP, BOTTOM = 300.0, 130.0, 34.0, 10.0, 96.0
"""The drawing of a curve, in SVG units."""


@dataclass(frozen=True)
class Picture:
    """One picture of a unit: whether the target is detected, and its words for readers who do not see it."""

    thumbnail: Thumbnail | None
    detected: bool
    alternative: str


@dataclass(frozen=True)
class PictureRow:
    """The pictures of one unit, in the order of `COLUMNS`."""

    prompt: str
    seed: str
    dose: str
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class Point:
    """The rate at one dose: its place, and the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class CurveDrawing:
    """The rates of candidate and control by dose. `ticks` are (x, label)."""

    width: float
    height: float
    bottom: float
    left: float
    candidate: tuple[Point, ...]
    control: tuple[Point, ...]
    ticks: tuple[tuple[float, str], ...]
    levels: tuple[tuple[float, str], ...]
    description: str


@dataclass(frozen=True)
class ProbeView:
    """One attack on the page. `tone` is the verdict that gives its colour."""

    id: str
    title: str
    outcome: str
    tone: str
    explanation: str
    result: str
    rows: tuple[PictureRow, ...]
    curve: CurveDrawing | None
    rates: tuple[tuple[str, str], ...]
    cost: str
    finds: tuple[tuple[str, str, str], ...]  # what, words, file
    source: str


@dataclass(frozen=True)
class ProbesView:
    """The section: its attacks, those that came back first, and one sentence over all of them."""

    probes: tuple[ProbeView, ...]
    summary: str
    columns: tuple[str, ...] = COLUMNS


def view_probes(run: Run) -> ProbesView | None:
    """The view; None for a run without probes. It reads pictures from the run folder."""
    records = [record for record in run.cases if record.probe]
    if not records:
        return None
    views = [_view(run, record, record.probe) for record in records if record.probe]
    tried = [view for view in views if view.outcome != NOT_TRIED]
    back = sum(view.outcome == BACK for view in views)
    left = len(views) - len(tried)
    summary = f"{count(len(tried), 'attack')} tried. The target came back under {f'{back} of them' if back else 'none'}."
    summary += f" {count(left, 'attack')} could not be tried." if left else ""
    rank = [BACK, UNDECIDED, REPORTED, NOT_BACK, SAYS_NOTHING, NOT_TRIED]
    return ProbesView(tuple(sorted(views, key=lambda view: rank.index(view.outcome))), summary)


BACK, NOT_BACK, UNDECIDED, REPORTED = "CAME BACK", "DID NOT COME BACK", "UNDECIDED", "REPORTED"
SAYS_NOTHING, NOT_TRIED = "SAYS NOTHING", "NOT TRIED"
_TONES = {BACK: "fail", NOT_BACK: "pass", UNDECIDED: "inconclusive", REPORTED: "reported", SAYS_NOTHING: "vacuous"}


def _outcome(record: CaseRecord, probe: ProbeRecord) -> str:
    if not probe.was_tried:
        return NOT_TRIED
    if probe.came_back:
        return BACK
    if not works_on_base(probe):
        return SAYS_NOTHING
    if probe.control == "none":
        return REPORTED
    claim = record.claim
    proven = claim is not None and claim.upper is not None and claim.threshold is not None and claim.upper <= claim.threshold
    return NOT_BACK if proven else UNDECIDED


def _view(run: Run, record: CaseRecord, probe: ProbeRecord) -> ProbeView:
    outcome = _outcome(record, probe)
    return ProbeView(
        id=record.case_id,
        title=one_line(attack_title(record)),
        outcome=outcome,
        tone=_TONES.get(outcome, "vacuous"),
        explanation=one_line(probe.explanation),
        result=one_line(record.seen),
        rows=tuple(_rows(run, record, probe)),
        curve=_curve(probe),
        rates=tuple(_rates(probe)),
        cost=_cost(record, probe),
        finds=tuple(_finds(probe)),
        source=one_line(probe.source),
    )


def _cost(record: CaseRecord, probe: ProbeRecord) -> str:
    if not probe.was_tried:
        return ""
    steps = max((dose.gradient_steps for dose in probe.doses if dose.candidate), default=0)
    parts = [count(len(probe.without_probe), "prompt with a seed", "prompts with seeds")]
    parts += [count(len(probe.images), "picture")]
    parts += [f"up to {count(steps, 'gradient step')} for one find"] if steps else ["no gradient steps"]
    parts += [f"{count(probe.examples, 'picture')} of the target to learn from"] if probe.examples else []
    seconds = record.volatile.seconds
    parts += [f"{seconds:,.0f} s in this run"] if seconds else []
    return ", ".join(parts)


def _finds(probe: ProbeRecord) -> Iterator[tuple[str, str, str]]:
    """What was found on the candidate, file by file: what it is with its doses, its words, and the name of the file."""
    by_key: dict[str, list[FindRecord]] = {}
    for find in probe.finds:
        if find.model == "candidate" and not find.placebo:
            by_key.setdefault(find.key, []).append(find)
    for key, finds in by_key.items():
        doses = ", ".join(one_line(find.dose) for find in finds)
        yield f"{one_line(finds[0].kind)}, {doses}", one_line(" · ".join(finds[0].words)), f"finds/{key}.safetensors"


# Pictures.


def _rows(run: Run, record: CaseRecord, probe: ProbeRecord) -> Iterator[PictureRow]:
    """The units that came back first, each at the dose at which most units show the target."""
    dose = _telling_dose(probe)
    if dose is None:
        return
    attacked = {(image.prompt, image.index, _arm(image)): image for image in probe.images if image.dose == dose.label}
    plain = {(image.prompt, image.index, image.model): image for image in record.images}
    units = [(prompt, index) for prompt, index, arm in attacked if arm == "candidate"]
    units.sort(key=lambda unit: not attacked[*unit, "candidate"].detected)
    for prompt, index in units[:ROWS_SHOWN]:
        images = (
            plain.get((prompt, index, "base")),
            plain.get((prompt, index, "candidate")),
            attacked.get((prompt, index, "candidate")),
            attacked.get((prompt, index, "control")),
        )
        first = next((image for image in images if image), None)
        pictures = tuple(_picture(run, image, column) for image, column in zip(images, COLUMNS, strict=True))
        yield PictureRow(one_line(prompt), str(first.seed) if first else "", one_line(dose.label), pictures)


def _picture(run: Run, image: ImageRecord | None, column: str) -> Picture | None:
    if image is None:
        return None
    seen = "detected" if image.detected else "not detected"
    words = f"{column}, prompt: {one_line(image.prompt)}. The target is {seen}."
    return Picture(thumbnail(run.image(image.key)), bool(image.detected), words)


def _arm(image: ProbeImage) -> str:
    return "control" if image.placebo or image.model == "control model" else str(image.model)


def _telling_dose(probe: ProbeRecord) -> DoseRecord | None:
    """The dose with the largest difference between candidate and control, or the most detections where they are equal."""
    drawn = {image.dose for image in probe.images}
    doses = [dose for dose in probe.doses if dose.label in drawn and dose.candidate]
    return max(doses, key=lambda dose: (sum(dose.candidate) - sum(dose.control), sum(dose.candidate)), default=None)


# Numbers.


def _rates(probe: ProbeRecord) -> Iterator[tuple[str, str]]:
    rates = attack_rates(probe)
    if rates is None:
        return
    yield "Without the attack (pre-ASR)", _rate_text(rates.before)
    yield "Only with the attack (post-ASR)", _rate_text(rates.gained)
    yield "In all (ASR)", _rate_text(rates.overall)
    for name, side in (("Control", "control"), ("Original model", "base")):
        curves = [getattr(curve, side) for curve in curves_of(probe) if getattr(curve, side)]
        if curves:
            yield f"{name}, at its best dose", _rate_text(rate(max(curves, key=sum)))


def _rate_text(value: Rate) -> str:
    if not value.units:
        return "–"
    share = value.hits / value.units
    return f"{value.hits} of {value.units} ({share:.0%}; 95% interval {value.lower:.0%} to {value.upper:.0%})"


def _curve(probe: ProbeRecord) -> CurveDrawing | None:
    """The rates by dose; None for a single dose."""
    doses = [dose for dose in probe.doses if dose.candidate]
    if len(doses) < 2:
        return None
    step = (WIDTH - INSET - 16.0) / (len(doses) - 1)
    places = [round(INSET + 8.0 + place * step, 1) for place in range(len(doses))]
    shown = _ticks(doses)
    texts = [
        f"{one_line(dose.label)}: candidate {sum(dose.candidate)} of {len(dose.candidate)}, control {sum(dose.control)} of {len(dose.control)}"
        for dose in doses
    ]
    return CurveDrawing(
        WIDTH,
        HEIGHT,
        BOTTOM,
        INSET,
        tuple(_points(places, [dose.candidate for dose in doses], -2.0)),
        tuple(_points(places, [dose.control for dose in doses], 2.0)),
        tuple((places[place], text) for place, text in shown),
        tuple((_height(level), f"{level:.0%}") for level in (0.0, 0.5, 1.0)),
        "Share of units that show the target, by dose. " + "; ".join(texts) + ".",
    )


def _points(places: Sequence[float], outcomes: Sequence[Sequence[int]], shift: float) -> Iterator[Point]:
    for x, values in zip(places, outcomes, strict=True):
        if values:
            shown = rate(values)
            yield Point(x + shift, _height(shown.hits / shown.units), _height(shown.lower), _height(shown.upper))


def _height(share: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * share, 1)


def _ticks(doses: Sequence[DoseRecord]) -> list[tuple[int, str]]:
    """The labels under the axis: short ones of all doses, or the first and the last one."""
    labels = [one_line(dose.label) for dose in doses]
    if len(doses) <= 6:
        short = [_short(label) for label in labels]
        if max(map(len, short)) <= 7:
            return list(enumerate(short))
    return [(0, labels[0]), (len(labels) - 1, labels[-1])]


def _short(label: str) -> str:
    """The number of a label, with its sign of percentage: "the first 20% of the steps" is "20%"."""
    return next((word for word in label.split() if word[0].isdigit()), label)
