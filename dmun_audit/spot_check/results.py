"""The results of a spot-check: the agreement of judge and persons, and bounds on the errors of the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.spot_check.claims import ALPHA, ClaimResult, recounted_claims
from dmun_audit.spot_check.labels import FILE, Label, read_labels
from dmun_audit.spot_check.strata import STRATA, JudgedImage, Stratum, judged_images
from dmun_audit.verdict import agreement, finite_population
from dmun_audit.verdict.agreement import ConfusionTable
from dmun_audit.verdict.finite_population import StratumSample


@dataclass(frozen=True)
class Agreement:
    """The agreement of two labellers on the images to which both said yes or no.

    Attributes:
        first: Name of the first labeller.
        second: Name of the second labeller.
        table: Their answers.
        share: Exact interval on the share of equal answers; None without images.
        kappa: Cohen's kappa; None if undefined.
        kappa_interval: Interval on kappa; None if kappa is undefined.
    """

    first: str
    second: str
    table: ConfusionTable
    share: tuple[float, float] | None
    kappa: float | None
    kappa_interval: tuple[float, float] | None


@dataclass(frozen=True)
class StratumResult:
    """One stratum, its labels, and bounds on the number of its images that show the target.

    Attributes:
        stratum: The stratum.
        images: Number of images in it.
        yes: Number of labels "yes".
        no: Number of labels "no".
        unsure: Number of labels "unsure".
        lower: At least this number of images show the target.
        upper: At most this number of images show the target.
    """

    stratum: Stratum
    images: int
    yes: int
    no: int
    unsure: int
    lower: int
    upper: int

    @property
    def sample(self) -> StratumSample:
        """The stratum and its labels as a random sample."""
        return StratumSample(self.images, self.yes + self.no + self.unsure, self.yes, self.unsure)

    @property
    def errors_in_sample(self) -> int:
        """Number of labelled images on which the judge was wrong."""
        return self.no if self.stratum.detected else self.yes


@dataclass(frozen=True)
class JudgeErrorBounds:
    """The errors of one kind that the judge made over all images of the candidate.

    Attributes:
        images: Number of images on which the judge could make this error.
        in_sample: Number of errors in the sample.
        estimate: Estimated number of errors; None if a stratum has no label.
        lower: Lower bound on the number of errors, with its own error rate.
        upper: Upper bound on the number of errors, with its own error rate.
    """

    images: int
    in_sample: int
    estimate: float | None
    lower: int
    upper: int


@dataclass(frozen=True)
class Disagreement:
    """An image on which person and judge disagree, with the answer of the person."""

    image: JudgedImage
    answer: str


@dataclass(frozen=True)
class PersonResult:
    """The results of the labels of one person.

    Attributes:
        name: Name of the person.
        first_at: Time of the first label, UTC, ISO 8601.
        last_at: Time of the last label.
        seed: Seed of the sample.
        size: Size of the sample.
        unsure: Number of images that the person could not decide.
        judge: Agreement of the person with the judge.
        strata: Every stratum with images.
        misses: Images of the candidate that show the target and were not detected.
        false_alarms: Images of the candidate that were detected and do not show the target.
        claims: The pooled claims on rates, recounted.
        disagreements: Misses first, images of the candidate first.
    """

    name: str
    first_at: str
    last_at: str
    seed: int
    size: int
    unsure: int
    judge: Agreement
    strata: tuple[StratumResult, ...]
    misses: JudgeErrorBounds
    false_alarms: JudgeErrorBounds
    claims: tuple[ClaimResult, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def labelled(self) -> int:
        """Number of images with a label, unsure ones included."""
        return self.judge.table.total + self.unsure


@dataclass(frozen=True)
class SpotCheck:
    """The spot-check of a run folder: results for every person, agreement between persons, and the number of ignored labels."""

    people: tuple[PersonResult, ...]
    between_people: tuple[Agreement, ...]
    ignored: int


def spot_check_of(run: Run) -> SpotCheck:
    """Evaluate the labels of a run folder. Needs no image file."""
    if not (run.path / FILE).exists():
        return SpotCheck((), (), 0)
    labels, images = read_labels(run.path, run.digest), judged_images(run.cases)
    known = {
        person: {key: label for key, label in of_person.items() if key in images}
        for person, of_person in labels.by_person.items()
    }
    people = tuple(_person_result(name, of_person, images, run.cases) for name, of_person in known.items() if of_person)
    between_people = tuple(_between(first.name, second.name, known) for first, second in combinations(people, 2))
    unknown = sum(map(len, labels.by_person.values())) - sum(map(len, known.values()))
    return SpotCheck(people, between_people, labels.foreign + unknown)


def _person_result(
    name: str, labels: Mapping[str, Label], images: Mapping[str, JudgedImage], records: Sequence[CaseRecord]
) -> PersonResult:
    decided = [(images[key], label.answer) for key, label in labels.items() if label.answer != "unsure"]
    strata = tuple(_stratum_result(stratum, labels, images) for stratum in STRATA)
    times, latest = sorted(label.at for label in labels.values()), list(labels.values())[-1]
    samples = {result.stratum: result.sample for result in strata}
    return PersonResult(
        name=name,
        first_at=times[0],
        last_at=times[-1],
        seed=latest.seed,
        size=min(len(images), max(label.images for label in labels.values())),
        unsure=len(labels) - len(decided),
        judge=_agreement(
            name, "judge", [answer == "yes" for _, answer in decided], [image.stratum.detected for image, _ in decided]
        ),
        strata=tuple(result for result in strata if result.images),
        misses=_judge_errors(strata, detected=False),
        false_alarms=_judge_errors(strata, detected=True),
        claims=tuple(recounted_claims(records, samples)),
        disagreements=tuple(
            Disagreement(image, answer)
            for image, answer in sorted(decided, key=lambda pair: (pair[0].stratum.detected, not pair[0].of_candidate))
            if (answer == "yes") is not image.stratum.detected
        ),
    )


def _agreement(first: str, second: str, answers: Sequence[bool], other_answers: Sequence[bool]) -> Agreement:
    table = agreement.confusion_table(answers, other_answers)
    return Agreement(
        first,
        second,
        table,
        agreement.agreement_interval(table) if table.total else None,
        agreement.kappa(table),
        agreement.kappa_interval(table),
    )


def _between(first: str, second: str, labels: Mapping[str, Mapping[str, Label]]) -> Agreement:
    pairs = [
        (label.answer == "yes", labels[second][key].answer == "yes")
        for key, label in labels[first].items()
        if key in labels[second] and "unsure" not in (label.answer, labels[second][key].answer)
    ]
    return _agreement(first, second, [answer for answer, _ in pairs], [answer for _, answer in pairs])


def _stratum_result(stratum: Stratum, labels: Mapping[str, Label], images: Mapping[str, JudgedImage]) -> StratumResult:
    members = [key for key, image in images.items() if image.stratum == stratum]
    counts = Counter(labels[key].answer for key in members if key in labels)
    sample = StratumSample(len(members), counts.total(), counts["yes"], counts["unsure"])
    return StratumResult(
        stratum,
        len(members),
        counts["yes"],
        counts["no"],
        counts["unsure"],
        finite_population.strata_lower_bound([sample], ALPHA),
        finite_population.strata_upper_bound([sample], ALPHA),
    )


def _judge_errors(strata: Sequence[StratumResult], *, detected: bool) -> JudgeErrorBounds:
    """Misses over the images without a detection, or false alarms over the images with one."""
    chosen = [result for result in strata if result.stratum.detected is detected and result.stratum.source != "base"]
    samples = [result.sample for result in chosen]
    total = sum(sample.population for sample in samples)
    estimate = finite_population.strata_estimate(samples)
    lower = finite_population.strata_lower_bound(samples, ALPHA)
    upper = finite_population.strata_upper_bound(samples, ALPHA)
    if detected:  # the images that do not show the target are the errors
        estimate, lower, upper = None if estimate is None else total - estimate, total - upper, total - lower
    return JudgeErrorBounds(total, sum(result.errors_in_sample for result in chosen), estimate, lower, upper)
