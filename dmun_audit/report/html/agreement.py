"""The section on a spot-check: for every person the counts, the agreement, the strata and the disputed images."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import hundredths, is_number, number, one_line, percent
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail
from dmun_audit.report.spot_check import agreement_text, error_text, ignored_labels_text, place_name, recount_text
from dmun_audit.spot_check.results import Agreement, Disagreement, PersonResult, SpotCheck
from dmun_audit.verdict.agreement import ConfusionTable

IMAGES_SHOWN = 24  # disputed images of one person


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
    """The section: a part for every person, sentences on the agreement between people, and a sentence on ignored labels."""

    people: tuple[PersonView, ...]
    between: tuple[str, ...]
    left_out: str


def view_agreement(run: Run, spot_check: SpotCheck) -> AgreementView | None:
    """The view; None without labels. It reads images from the run folder."""
    if not spot_check.people and not spot_check.ignored:
        return None
    return AgreementView(
        tuple(_person(run, person) for person in spot_check.people),
        tuple(
            f"{one_line(agreement.first)} and {one_line(agreement.second)}: {agreement_text(agreement)}."
            for agreement in spot_check.between_people
        ),
        ignored_labels_text(spot_check) if spot_check.ignored else "",
    )


def _person(run: Run, person: PersonResult) -> PersonView:
    unsure = f", {person.unsure} of them “cannot tell”" if person.unsure else ""
    return PersonView(
        by=one_line(person.name),
        when=_when(person),
        labelled=f"{person.labelled} of {person.size} images labelled{unsure}; sample drawn with seed {person.seed}",
        table=person.judge.table,
        figures=tuple(_figures(person.judge)),
        strata=tuple(_rows(person)),
        errors=(
            ("Misses on the candidate", error_text(person.misses, "miss") + "."),
            ("False alarms on the candidate", error_text(person.false_alarms, "false alarm") + "."),
        ),
        claims=tuple((recount_text(person, claim), claim.doubtful) for claim in person.claims),
        disputes=tuple(_dispute(run, disagreement) for disagreement in person.disagreements[:IMAGES_SHOWN]),
        disputes_left_out=max(0, len(person.disagreements) - IMAGES_SHOWN),
    )


def _when(person: PersonResult) -> str:
    first, last = (one_line(moment)[:16].replace("T", " ") for moment in (person.first_at, person.last_at))
    return f"{first} UTC" if first == last else f"{first} to {last[11:] if last[:10] == first[:10] else last} UTC"


def _figures(agreement: Agreement) -> list[tuple[str, str, str]]:
    if agreement.share is None:
        return []
    rows = [
        (
            "Equal answers",
            f"{percent(agreement.table.agreeing / agreement.table.total)}",
            f"{percent(agreement.share[0])} to {percent(agreement.share[1])}",
        )
    ]
    if agreement.kappa is None or agreement.kappa_interval is None:
        return [*rows, ("Cohen's kappa", "undefined", "one answer never occurs")]
    low, high = map(hundredths, agreement.kappa_interval)
    return [*rows, ("Cohen's kappa", hundredths(agreement.kappa), f"{low} to {high}")]


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


def _dispute(run: Run, disagreement: Disagreement) -> DisputeView:
    image, detected = disagreement.image, disagreement.image.stratum.detected
    score = f" ({hundredths(image.score)})" if is_number(image.score) else ""
    return DisputeView(
        thumbnail=thumbnail(run.image(image.key)),
        model="candidate" if image.of_candidate else "base",
        prompt=one_line(image.prompt),
        judge=("detected" if detected else "not detected") + score,
        person=disagreement.answer,
        missed=not detected,
    )
