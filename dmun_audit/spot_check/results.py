"""What the labels say: of the judge, of the claims that rest on it, of the people among each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from dmun_audit.evidence.run_folder import fingerprint
from dmun_audit.spot_check.labels import FILE, Label, read_labels
from dmun_audit.spot_check.population import STRATA, Judged, Stratum, judged_images, sample_for
from dmun_audit.verdict import agreement, bounds, finite_population, sequential
from dmun_audit.verdict.agreement import ConfusionTable
from dmun_audit.verdict.finite_population import StratumSample

Record = Mapping[str, Any]
ALPHA = 0.05  # error rate of every bound on counts of images


@dataclass(frozen=True)
class Alike:
    """Agreement of two who answered the same images: `table` counts those to which both said yes or no."""

    first: str
    second: str
    table: ConfusionTable
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
    def sampled(self) -> StratumSample:
        """The stratum as a sample."""
        return StratumSample(self.images, self.yes + self.no + self.unsure, self.yes, self.unsure)

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


def spot_check_of(folder: Path, records: Sequence[Record]) -> SpotCheck:
    """Read the labels of a run folder and count. `records` is its evidence, one record a case; needs no image."""
    if not (folder / FILE).exists():
        return SpotCheck((), (), 0)
    labels = read_labels(folder, evidence_digest(records))
    images = judged_images(records)
    known = {by: {key: label for key, label in held.items() if key in images} for by, held in labels.by_person.items()}
    people = tuple(_person(by, held, images, records) for by, held in known.items() if held)
    between = tuple(_between(first.by, second.by, known) for first, second in combinations(people, 2))
    unknown = sum(len(held) for held in labels.by_person.values()) - sum(map(len, known.values()))
    return SpotCheck(people, between, labels.foreign + unknown)


def evidence_digest(records: Iterable[Record]) -> str:
    """The digest by which labels name the evidence that they were made of."""
    return str(fingerprint(map(dict, records))["digest"])


def _person(by: str, labels: Mapping[str, Label], images: Mapping[str, Judged], records: Sequence[Record]) -> PersonResult:
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
    table = agreement.confusion_table(yes, other)
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


def _errors(strata: Sequence[StratumResult], *, detected: bool) -> Errors:
    chosen = [result for result in strata if result.stratum.detected is detected and result.stratum.place != "base"]
    samples = [result.sampled for result in chosen]
    total = sum(sample.population for sample in samples)
    estimate = finite_population.strata_estimate(samples)
    fewest, most = finite_population.strata_lower_bound(samples, ALPHA), finite_population.strata_upper_bound(samples, ALPHA)
    if detected:
        estimate, fewest, most = None if estimate is None else total - estimate, total - most, total - fewest
    return Errors(total, sum(result.errors[0] for result in chosen), estimate, fewest, most)


def _claims(
    records: Sequence[Record], images: Mapping[str, Judged], strata: Mapping[Stratum, StratumResult]
) -> Iterable[ClaimResult]:
    for record in records:
        group = str(record.get("group"))
        if record.get("pooled") and group in ("erasure", "adversarial") and _on_a_rate(record.get("claim") or {}):
            yield _claim(record, images, strata[Stratum(group, True)], strata[Stratum(group, False)], strata)


def _on_a_rate(claim: Mapping[str, Any]) -> bool:
    """Whether a claim holds what is needed to count anew; evidence may have been written or edited by anybody."""
    counts = [claim.get("hits"), claim.get("trials")]
    shares = [claim.get("threshold"), claim.get("alpha_pass")]
    whole = all(type(value) is int for value in counts) and all(type(value) is float for value in shares)
    return whole and 0 <= counts[0] <= counts[1] != 0 and all(0 < value < 1 for value in shares)  # type: ignore[operator]


def _claim(
    record: Record,
    images: Mapping[str, Judged],
    alarmed: StratumResult,
    passed: StratumResult,
    strata: Mapping[Stratum, StratumResult],
) -> ClaimResult:
    claim = record["claim"]
    trials, hits, ceiling, upper = claim["trials"], claim["hits"], claim["threshold"], _upper_bound_of(claim)
    outside = max(0, trials - alarmed.images - passed.images)  # shared with another stratum: nobody sampled them for this claim
    samples = [alarmed.sampled, passed.sampled]
    most = min(trials, finite_population.strata_upper_bound(samples, ALPHA) + outside)
    return ClaimResult(
        title=str(record.get("title", "")),
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
        passed=record.get("verdict") == "PASS",
    )


def _upper_bound_of(claim: Mapping[str, Any]) -> Callable[[int], float]:
    """The claim's own upper bound on the rate as a function of its hits: that of fixed n, or of a rule that may stop early."""
    trials, alpha = claim["trials"], claim["alpha_pass"]
    if claim.get("stopping") != "early" or alpha >= 0.5:
        return lambda hits: bounds.upper_bound(hits, trials, alpha)
    rule = sequential.SequentialClaim("rate", claim["threshold"], claim["threshold"], alpha, alpha)
    return lambda hits: rule.upper(sequential.OutcomeCounts(trials - hits, 0, hits))


def _images_for_proof(
    samples: Sequence[StratumSample], allowed: int, stratum: Stratum, strata: Mapping[Stratum, StratumResult]
) -> int | None:
    """The smallest sample that would prove at most `allowed` images if every hit is one and no miss is found; None if none does."""
    alarmed, passed = samples
    if passed.positives or passed.unsure:
        return None
    level = ALPHA / 2.0 if alarmed.population else ALPHA
    needed = finite_population.labels_needed(passed.population, allowed - alarmed.population, level)
    return None if needed is None else sample_for(stratum, needed, {place: result.images for place, result in strata.items()})
