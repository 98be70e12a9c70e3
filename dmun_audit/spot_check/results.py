"""What the labels say: of the judge, of the claims that rest on it, of the people among each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.spot_check.labels import FILE, Label, read_labels
from dmun_audit.spot_check.population import STRATA, Judged, Stratum, judged_images, sample_for
from dmun_audit.verdict import agreement, bounds, sequential
from dmun_audit.verdict.agreement import Sampled, Table
from dmun_audit.verdict.vocabulary import Stopping, Verdict

ALPHA = 0.05  # error rate of every bound on counts of images


@dataclass(frozen=True)
class Alike:
    """Agreement of two who answered the same images: `table` counts those to which both said yes or no."""

    first: str
    second: str
    table: Table
    share: tuple[float, float] | None  # exact interval on the share of images answered alike
    kappa: float | None
    kappa_interval: tuple[float, float] | None


@dataclass(frozen=True)
class StratumResult:
    """One stratum: its images, how many of them were labelled how, and how many show the target at least and at most."""

    stratum: Stratum
    images: int
    yes: int
    no: int
    unsure: int
    fewest: int
    most: int

    @property
    def sampled(self) -> Sampled:
        """The stratum as a sample."""
        return Sampled(self.images, self.yes + self.no + self.unsure, self.yes, self.yes + self.unsure)

    @property
    def errors(self) -> tuple[int, int, int]:
        """The judge's errors in this stratum: seen in the sample, at least among all images, at most."""
        if self.stratum.detected:
            return self.no, self.images - self.most, self.images - self.fewest
        return self.yes, self.fewest, self.most


@dataclass(frozen=True)
class Errors:
    """The judge's errors of one kind over all the candidate's images: an estimate, and two bounds, each at its own error rate."""

    images: int
    seen: int
    estimate: float | None
    fewest: int
    most: int


@dataclass(frozen=True)
class ClaimResult:
    """A pooled claim with the judge's answers replaced by what the labels leave possible.

    Of its `trials` images at most `most` show the target, and a rate at which so many do is at most `rate_upper`: two
    bounds, each at its own error rate. `images_for_proof` is the sample that would do if no further miss were found.
    """

    title: str
    trials: int
    judged: int
    labelled: int  # of those that the judge passed
    missed: int  # of these, the person saw the target in so many
    most: int
    rate_upper: float
    ceiling: float
    images_for_proof: int | None
    passed: bool

    @property
    def doubtful(self) -> bool:
        """Whether the claim passed, and the labels leave a rate above its ceiling possible."""
        return self.passed and self.rate_upper > self.ceiling


@dataclass(frozen=True)
class Disagreement:
    """An image to which person and judge gave different answers."""

    image: Judged
    answer: str


@dataclass(frozen=True)
class PersonResult:
    """Everything that one person's labels say."""

    by: str
    first_at: str
    last_at: str
    seed: int
    asked: int
    unsure: int
    judge: Alike
    strata: tuple[StratumResult, ...]
    misses: Errors
    false_alarms: Errors
    claims: tuple[ClaimResult, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def labelled(self) -> int:
        """How many images the person answered, those that could not be told included."""
        return self.judge.table.total + self.unsure


@dataclass(frozen=True)
class SpotCheck:
    """The spot-check of a run folder: a result for every person, their agreement, and how many labels were left out."""

    people: tuple[PersonResult, ...]
    between: tuple[Alike, ...]
    left_out: int


def spot_check_of(run: Run) -> SpotCheck:
    """Read the labels of a run folder and count. Needs no image."""
    folder, records, digest = run.path, run.cases, run.digest
    if not (folder / FILE).exists():
        return SpotCheck((), (), 0)
    labels = read_labels(folder, digest)
    images = judged_images(records)
    known = {by: {key: label for key, label in held.items() if key in images} for by, held in labels.by_person.items()}
    people = tuple(_person(by, held, images, records) for by, held in known.items() if held)
    between = tuple(_between(first.by, second.by, known) for first, second in combinations(people, 2))
    unknown = sum(len(held) for held in labels.by_person.values()) - sum(map(len, known.values()))
    return SpotCheck(people, between, labels.foreign + unknown)


def _person(by: str, labels: Mapping[str, Label], images: Mapping[str, Judged], records: Sequence[CaseRecord]) -> PersonResult:
    told = [(images[key], label.answer) for key, label in labels.items() if label.answer != "unsure"]
    strata = tuple(_stratum(stratum, labels, images) for stratum in STRATA)
    moments, latest = sorted(label.at for label in labels.values()), list(labels.values())[-1]
    return PersonResult(
        by=by,
        first_at=moments[0],
        last_at=moments[-1],
        seed=latest.seed,
        asked=min(len(images), max(label.images for label in labels.values())),
        unsure=len(labels) - len(told),
        judge=_alike(by, "judge", [answer == "yes" for _, answer in told], [image.stratum.detected for image, _ in told]),
        strata=tuple(stratum for stratum in strata if stratum.images),
        misses=_errors(strata, detected=False),
        false_alarms=_errors(strata, detected=True),
        claims=tuple(_claims(records, images, {result.stratum: result for result in strata})),
        disagreements=tuple(
            Disagreement(image, answer)
            for image, answer in sorted(told, key=lambda one: (one[0].stratum.detected, not one[0].of_candidate))
            if (answer == "yes") is not image.stratum.detected
        ),
    )


def _alike(first: str, second: str, yes: Sequence[bool], other: Sequence[bool]) -> Alike:
    table = agreement.table_of(yes, other)
    return Alike(
        first,
        second,
        table,
        agreement.agreement_interval(table) if table.total else None,
        agreement.kappa(table),
        agreement.kappa_interval(table),
    )


def _between(first: str, second: str, known: Mapping[str, Mapping[str, Label]]) -> Alike:
    answers = [
        (label.answer == "yes", known[second][key].answer == "yes")
        for key, label in known[first].items()
        if key in known[second] and "unsure" not in (label.answer, known[second][key].answer)
    ]
    return _alike(first, second, [one for one, _ in answers], [other for _, other in answers])


def _stratum(stratum: Stratum, labels: Mapping[str, Label], images: Mapping[str, Judged]) -> StratumResult:
    members = [key for key, image in images.items() if image.stratum == stratum]
    counts = Counter(labels[key].answer for key in members if key in labels)
    sample = Sampled(len(members), counts.total(), counts["yes"], counts["yes"] + counts["unsure"])
    return StratumResult(
        stratum,
        len(members),
        counts["yes"],
        counts["no"],
        counts["unsure"],
        agreement.fewest_of_strata([sample], ALPHA),
        agreement.most_of_strata([sample], ALPHA),
    )


def _errors(strata: Sequence[StratumResult], *, detected: bool) -> Errors:
    chosen = [result for result in strata if result.stratum.detected is detected and result.stratum.place != "base"]
    samples = [result.sampled for result in chosen]
    total = sum(sample.population for sample in samples)
    estimate = agreement.estimated_count(samples)
    fewest, most = agreement.fewest_of_strata(samples, ALPHA), agreement.most_of_strata(samples, ALPHA)
    if detected:
        estimate, fewest, most = None if estimate is None else total - estimate, total - most, total - fewest
    return Errors(total, sum(result.errors[0] for result in chosen), estimate, fewest, most)


def _claims(
    records: Sequence[CaseRecord], images: Mapping[str, Judged], strata: Mapping[Stratum, StratumResult]
) -> Iterable[ClaimResult]:
    for record in records:
        group, claim = record.group, record.claim
        if record.pooled and group in ("erasure", "adversarial") and claim and _on_a_rate(claim):
            yield _claim(record, claim, strata[Stratum(group, True)], strata[Stratum(group, False)], strata)


def _on_a_rate(claim: ClaimRecord) -> bool:
    """Whether a claim has the numbers to count anew. Anybody may have written or edited the evidence."""
    if claim.hits is None or claim.trials is None or claim.threshold is None or claim.alpha_pass is None:
        return False
    return 0 <= claim.hits <= claim.trials != 0 and 0 < claim.threshold < 1 and 0 < claim.alpha_pass < 1


def _claim(
    record: CaseRecord,
    claim: ClaimRecord,
    alarmed: StratumResult,
    passed: StratumResult,
    strata: Mapping[Stratum, StratumResult],
) -> ClaimResult:
    assert claim.trials is not None
    assert claim.hits is not None
    assert claim.threshold is not None
    trials, hits, ceiling, upper = claim.trials, claim.hits, claim.threshold, _upper_bound_of(claim)
    outside = max(0, trials - alarmed.images - passed.images)  # shared with another stratum: nobody sampled them for this claim
    samples = [alarmed.sampled, passed.sampled]
    most = min(trials, agreement.most_of_strata(samples, ALPHA) + outside)
    return ClaimResult(
        title=record.title,
        trials=trials,
        judged=hits,
        labelled=passed.sampled.labelled,
        missed=passed.yes,
        most=most,
        rate_upper=upper(most),
        ceiling=ceiling,
        images_for_proof=_images_for_proof(
            samples, bounds.smallest(lambda count: upper(count) > ceiling, 0, trials) - 1 - outside, passed.stratum, strata
        ),
        passed=record.verdict == Verdict.PASS,
    )


def _upper_bound_of(claim: ClaimRecord) -> Callable[[int], float]:
    """The claim's own upper bound on the rate as a function of its hits: that of fixed n, or of a rule that may stop early."""
    trials, alpha, ceiling = claim.trials, claim.alpha_pass, claim.threshold
    assert trials is not None
    assert alpha is not None
    assert ceiling is not None
    if claim.stopping != Stopping.EARLY or alpha >= 0.5:
        return lambda hits: bounds.upper_bound(hits, trials, alpha)
    rule = sequential.Claim("rate", ceiling, ceiling, alpha, alpha)
    return lambda hits: rule.upper(sequential.Counts(trials - hits, 0, hits))


def _images_for_proof(
    samples: Sequence[Sampled], allowed: int, stratum: Stratum, strata: Mapping[Stratum, StratumResult]
) -> int | None:
    """The smallest sample that would prove at most `allowed` images if every hit is one and no miss is found; None if none does."""
    alarmed, passed = samples
    if passed.most:
        return None
    level = ALPHA / 2.0 if alarmed.population else ALPHA
    needed = agreement.labels_needed(passed.population, allowed - alarmed.population, level)
    return None if needed is None else sample_for(stratum, needed, {place: result.images for place, result in strata.items()})
