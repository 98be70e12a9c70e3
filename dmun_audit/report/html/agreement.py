"""What the page says of a spot-check: for every person the counts, the agreement, the strata, the images in dispute."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import hundredths, is_number, number, one_line, percent
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail
from dmun_audit.report.spot_check import agreement_said, claim_said, errors_said, left_out_said, place_name
from dmun_audit.spot_check.results import Agreement, Disagreement, PersonResult, SpotCheck
from dmun_audit.verdict.agreement import ConfusionTable

IMAGES_SHOWN = 24  # images in dispute of one person


@dataclass(frozen=True)
class DisputeView:
    """One image with both answers."""

    thumbnail: Thumbnail | None
    model: str
    prompt: str
    judge: str
    person: str
    missed: bool


@dataclass(frozen=True)
class PersonView:
    """One person's labels. `strata` are rows of text; `claims` are (sentence, whether it is a warning)."""

    by: str
    when: str
    labelled: str
    table: ConfusionTable
    figures: tuple[tuple[str, str, str], ...]  # name, value, interval
    strata: tuple[tuple[str, ...], ...]
    errors: tuple[tuple[str, str], ...]
    claims: tuple[tuple[str, bool], ...]
    disputes: tuple[DisputeView, ...]
    disputes_left_out: int


@dataclass(frozen=True)
class AgreementView:
    """The section: a part for every person, sentences on people among each other, and a word on labels left out."""

    people: tuple[PersonView, ...]
    between: tuple[str, ...]
    left_out: str


def view_agreement(run: Run, found: SpotCheck) -> AgreementView | None:
    """The view; None where there is nothing to say. Pictures are read from the run folder."""
    if not found.people and not found.ignored:
        return None
    return AgreementView(
        tuple(_person(run, person) for person in found.people),
        tuple(
            f"{one_line(alike.first)} and {one_line(alike.second)}: {agreement_said(alike)}." for alike in found.between_people
        ),
        left_out_said(found) if found.ignored else "",
    )


def _person(run: Run, person: PersonResult) -> PersonView:
    unsure = f", {person.unsure} of which could not be told" if person.unsure else ""
    return PersonView(
        by=one_line(person.name),
        when=_when(person),
        labelled=f"{person.labelled} of {person.size} images labelled{unsure}; sample drawn with seed {person.seed}",
        table=person.judge.table,
        figures=tuple(_figures(person.judge)),
        strata=tuple(_rows(person)),
        errors=(
            ("Misses on the candidate", errors_said(person.misses, "miss") + "."),
            ("False alarms on the candidate", errors_said(person.false_alarms, "false alarm") + "."),
        ),
        claims=tuple((claim_said(person, claim), claim.doubtful) for claim in person.claims),
        disputes=tuple(_dispute(run, one) for one in person.disagreements[:IMAGES_SHOWN]),
        disputes_left_out=max(0, len(person.disagreements) - IMAGES_SHOWN),
    )


def _when(person: PersonResult) -> str:
    first, last = (one_line(moment)[:16].replace("T", " ") for moment in (person.first_at, person.last_at))
    return f"{first} UTC" if first == last else f"{first} to {last[11:] if last[:10] == first[:10] else last} UTC"


def _figures(alike: Agreement) -> list[tuple[str, str, str]]:
    if alike.share is None:
        return []
    rows = [
        (
            "Answers alike",
            f"{percent(alike.table.agreeing / alike.table.total)}",
            f"{percent(alike.share[0])} to {percent(alike.share[1])}",
        )
    ]
    if alike.kappa is None or alike.kappa_interval is None:
        return [*rows, ("Cohen's kappa", "undefined", "one answer never occurs")]
    low, high = map(hundredths, alike.kappa_interval)
    return [*rows, ("Cohen's kappa", hundredths(alike.kappa), f"{low} to {high}")]


def _rows(person: PersonResult) -> list[tuple[str, ...]]:
    return [
        (
            place_name(row.stratum.source),
            "detected" if row.stratum.detected else "not detected",
            number(row.images),
            number(row.yes),
            number(row.no),
            number(row.unsure),
            f"{number(row.lower)} to {number(row.upper)}",
        )
        for row in person.strata
    ]


def _dispute(run: Run, one: Disagreement) -> DisputeView:
    image, detected = one.image, one.image.stratum.detected
    score = f" ({hundredths(image.score)})" if is_number(image.score) else ""
    return DisputeView(
        thumbnail=thumbnail(run.image(image.key)),
        model="candidate" if image.of_candidate else "base",
        prompt=one_line(image.prompt),
        judge=("detected" if detected else "not detected") + score,
        person=one.answer,
        missed=not detected,
    )
