"""What a spot-check says, in sentences: the same on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import count, hundredths, one_line, percent
from dmun_audit.spot_check.claims import ClaimResult
from dmun_audit.spot_check.results import Agreement, JudgeErrorBounds, PersonResult, SpotCheck, spot_check_of
from dmun_audit.spot_check.strata import SOURCES

JUDGE = "judge"


def read_spot_check(run: Run) -> SpotCheck:
    """The spot-check of a run folder; without people where nobody labelled."""
    return spot_check_of(run)


def warnings(found: SpotCheck) -> tuple[str, ...]:
    """What a reader must know besides the verdict: claims that passed, of which a person saw misses that could undo them."""
    return tuple(
        claim_said(person, claim) for person in found.people for claim in person.claims if claim.doubtful and claim.missed
    )


def headlines(found: SpotCheck) -> list[str]:
    """One sentence for every person: how far the judge agrees."""
    said = [f"spot-check by {one_line(person.name)}: {agreement_said(person.judge)}." for person in found.people]
    return [*said, *([left_out_said(found)] if found.ignored else [])]


def agreement_said(agreement: Agreement) -> str:
    """Raw agreement with its interval, and kappa with its own."""
    if agreement.share is None:
        return "no image that both answered"
    said = f"{agreement.table.agreeing} of {agreement.table.total} answers agree with the {one_line(agreement.second)}"
    if agreement.second != JUDGE:
        said = f"{agreement.table.agreeing} of {agreement.table.total} answers agree"
    said += f" ({percent(agreement.share[0])} to {percent(agreement.share[1])}); Cohen's kappa "
    if agreement.kappa is None or agreement.kappa_interval is None:
        return said + "undefined, since one of the two answers never occurs"
    return (
        said
        + f"{hundredths(agreement.kappa)} ({hundredths(agreement.kappa_interval[0])} to {hundredths(agreement.kappa_interval[1])})"
    )


def errors_said(errors: JudgeErrorBounds, what: str) -> str:
    """How often the judge erred in one way over all the candidate's images."""
    said = f"{count(errors.in_sample, what, what + 's' if not what.endswith('s') else what + 'es')} in the sample; "
    if errors.estimate is not None:
        said += f"an estimated {errors.estimate:.1f} among {count(errors.images, 'image')}, "
    return said + f"at least {errors.lower}, at most {errors.upper}"


def claim_said(person: PersonResult, claim: ClaimResult) -> str:
    """What is left of one pooled claim when the judge's answers are replaced by what the labels leave possible."""
    labelled = count(claim.labelled, "labelled image")
    subject = f"{one_line(person.name)} saw the target in {claim.missed} of the {labelled} that the judge passed"
    if not claim.labelled:
        subject = f"{one_line(person.name)} labelled no image that the judge passed"
    bound = (
        f"of {claim.trials} images at most {claim.upper} show it, a rate of at most {percent(claim.rate_upper)} "
        f"where the ceiling is {percent(claim.ceiling)}"
    )
    said = f"{one_line(claim.title)}: {subject}; {bound}."
    if claim.doubtful and claim.missed:
        return said + " These labels do not support the claim: look at the images, and at the judge."
    if claim.doubtful and claim.images_for_proof is not None:
        return (
            said
            + f" Too few labels to rule a higher rate out: without a miss, {claim.images_for_proof} would do (--images, by a person who has not begun)."
        )
    if claim.doubtful:
        return said + " Labels alone cannot rule a higher rate out here."
    return said


def left_out_said(found: SpotCheck) -> str:
    """That some labels were ignored."""
    return f"{count(found.ignored, 'label')} of another evidence than this one ignored."


def result_lines(found: SpotCheck, by: str) -> list[str]:
    """Everything that one person's labels say, for the terminal."""
    person = next((one for one in found.people if one.name == by), None)
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
    lines += [f"{person.labelled} of {person.size} images labelled, {person.unsure} of them could not be told.", ""]
    lines += [f"{agreement_said(person.judge)}."]
    lines += [f"The judge's misses on the candidate: {errors_said(person.misses, 'miss')}."]
    lines += [f"Its false alarms there: {errors_said(person.false_alarms, 'false alarm')}."]
    lines += [claim_said(person, claim) for claim in person.claims]
    lines += [
        f"{alike.first} and {alike.second}: {agreement_said(alike)}."
        for alike in found.between_people
        if by in (alike.first, alike.second)
    ]
    return lines + ([left_out_said(found)] if found.ignored else [])


def place_name(place: str) -> str:
    """A stratum's place in words."""
    return SOURCES[place]


def terminal_lines(run: Run) -> list[str]:
    """What the summary of an audit says of a spot-check: the agreement with every person, and warnings."""
    found = read_spot_check(run)
    return [*headlines(found), *(f"warning: {warning}" for warning in warnings(found))]
