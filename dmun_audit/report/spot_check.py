"""The results of a spot-check in sentences, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.evidence.messages import at_most
from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import count, hundredths, one_line, percent
from dmun_audit.spot_check.claims import ClaimResult
from dmun_audit.spot_check.results import Agreement, JudgeErrorBounds, PersonResult, SpotCheck, spot_check_of
from dmun_audit.spot_check.strata import SOURCES
from dmun_audit.verdict.significant import percent_as_given

JUDGE = "judge"


def read_spot_check(run: Run) -> SpotCheck:
    """The spot-check of a run folder. It has no people if nobody labelled."""
    return spot_check_of(run)


def warnings(spot_check: SpotCheck) -> tuple[str, ...]:
    """Warnings on claims that passed although a person found misses of the judge that could refute them."""
    return tuple(
        recount_text(person, claim) for person in spot_check.people for claim in person.claims if claim.doubtful and claim.missed
    )


def headlines(spot_check: SpotCheck) -> list[str]:
    """The agreement with the judge in one sentence for each person."""
    sentences = [f"spot-check by {one_line(person.name)}: {agreement_text(person.judge)}." for person in spot_check.people]
    return [*sentences, *([ignored_labels_text(spot_check)] if spot_check.ignored else [])]


def agreement_text(agreement: Agreement) -> str:
    """The share of equal answers and kappa, each with its interval."""
    if agreement.share is None:
        return "there is no image with answers of both"
    text = f"{agreement.table.agreeing} of {agreement.table.total} answers agree with the {one_line(agreement.second)}"
    if agreement.second != JUDGE:
        text = f"{agreement.table.agreeing} of {agreement.table.total} answers agree"
    text += f" ({percent(agreement.share[0])} to {percent(agreement.share[1])}); Cohen's kappa is "
    if agreement.kappa is None or agreement.kappa_interval is None:
        return text + "undefined, because one of the two answers never occurs"
    low, high = map(hundredths, agreement.kappa_interval)
    return f"{text}{hundredths(agreement.kappa)} ({low} to {high})"


def error_text(errors: JudgeErrorBounds, error: str) -> str:
    """The number of the judge's errors of one kind over all images of the candidate. `error` is their name in the singular."""
    plural = error + ("es" if error.endswith("s") else "s")
    text = f"{count(errors.in_sample, error, plural)} in the sample; "
    if errors.estimate is not None:
        text += f"an estimated {errors.estimate:.1f} among {count(errors.images, 'image')}, "
    return text + f"at least {errors.lower}, at most {errors.upper}"


def recount_text(person: PersonResult, claim: ClaimResult) -> str:
    """A pooled claim on a rate, recounted with the labels of a person."""
    name, labelled = one_line(person.name), count(claim.labelled, "labelled image")
    subject = f"{name} saw the target in {claim.missed} of {labelled} in which the judge did not detect it"
    if not claim.labelled:
        subject = f"{name} labelled no image in which the judge did not detect the target"
    text = (
        f"{one_line(claim.title)}: {subject}. At most {claim.upper} of {claim.trials} images show the target, so the rate is "
        f"{at_most(claim.rate_upper, claim.ceiling)}; the ceiling is {percent_as_given(claim.ceiling)}."
    )
    if claim.doubtful and claim.missed:
        return text + " These labels do not support the claim. Check the images and the judge."
    if claim.doubtful and claim.images_for_proof is not None:
        return (
            f"{text} There are too few labels to exclude a higher rate. A new sample of {claim.images_for_proof} images without a "
            "miss would be enough (--images, with a person who has no labels yet)."
        )
    if claim.doubtful:
        return text + " Labels alone cannot exclude a higher rate here."
    return text


def ignored_labels_text(spot_check: SpotCheck) -> str:
    """A sentence on ignored labels."""
    return f"Ignored {count(spot_check.ignored, 'label')} of other evidence."


def result_lines(spot_check: SpotCheck, by: str) -> list[str]:
    """All results of one person's labels, for the terminal."""
    person = next((person for person in spot_check.people if person.name == by), None)
    if person is None:
        return [f"{by} has labelled nothing yet."]
    table = person.judge.table
    rows: Sequence[tuple[object, ...]] = [
        ("", "judge: yes", "judge: no"),
        (f"{by}: yes", table.both, table.first_only),
        (f"{by}: no", table.second_only, table.neither),
    ]
    width = max(len(str(row[0])) for row in rows)
    lines = [f"{row[0]!s:<{width}}  {row[1]!s:>10}  {row[2]!s:>10}" for row in rows]
    lines += [f"{person.labelled} of {person.size} images labelled, {person.unsure} of them “cannot tell”.", ""]
    lines += [f"{agreement_text(person.judge)}."]
    lines += [f"The judge's misses on the candidate: {error_text(person.misses, 'miss')}."]
    lines += [f"The judge's false alarms on the candidate: {error_text(person.false_alarms, 'false alarm')}."]
    lines += [recount_text(person, claim) for claim in person.claims]
    lines += [
        f"{agreement.first} and {agreement.second}: {agreement_text(agreement)}."
        for agreement in spot_check.between_people
        if by in (agreement.first, agreement.second)
    ]
    return lines + ([ignored_labels_text(spot_check)] if spot_check.ignored else [])


def place_name(place: str) -> str:
    """The name of a source of images."""
    return SOURCES[place]


def terminal_lines(run: Run) -> list[str]:
    """The lines on a spot-check in the summary of an audit: the agreement with every person, and warnings."""
    spot_check = read_spot_check(run)
    return [*headlines(spot_check), *(f"warning: {warning}" for warning in warnings(spot_check))]
