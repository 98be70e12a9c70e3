"""Recounts the pooled claims of an audit: how many images can show the target, given the labels of one person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.spot_check.strata import Stratum, sample_size_for
from dmun_audit.verdict import bounds, finite_population
from dmun_audit.verdict.finite_population import StratumSample
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Stopping, Verdict

Samples = Mapping[Stratum, StratumSample]
ALPHA = 0.05  # error rate of every bound on a number of images
_GROUPS = ("erasure", "adversarial")


@dataclass(frozen=True)
class ClaimResult:
    """A pooled claim on a rate, recounted with the labels of a person.

    Attributes:
        title: Title of the claim.
        trials: Number of images of the claim.
        judged: Number of these images that the judge detected.
        labelled: Number of labelled images that the judge did not detect.
        missed: Number of these labelled images that show the target.
        upper: At most this number of images show the target; a bound with the error rate `ALPHA`.
        rate_upper: Upper bound on the rate if `upper` images show the target, with the claim's own error rate.
        ceiling: The limit of the claim.
        images_for_proof: Size of a sample that would prove the claim if it contains no miss; None if there is none.
        passed: Whether the claim passed in the audit.
    """

    title: str
    trials: int
    judged: int
    labelled: int
    missed: int
    upper: int
    rate_upper: float
    ceiling: float
    images_for_proof: int | None
    passed: bool

    @property
    def doubtful(self) -> bool:
        """Whether the claim passed, although the labels allow a rate above its ceiling."""
        return self.passed and self.rate_upper > self.ceiling


@dataclass(frozen=True)
class RateClaim:
    """The numbers of a pooled claim on a rate."""

    hits: int
    trials: int
    ceiling: float
    alpha: float
    stopping: Stopping

    @classmethod
    def of(cls, claim: ClaimRecord | None) -> RateClaim | None:
        """The claim of a record; None if it is no claim on a rate. Anybody may have edited the evidence."""
        if claim is None:
            return None
        hits, trials, ceiling, alpha = claim.hits, claim.trials, claim.threshold, claim.alpha_pass
        if hits is None or trials is None or ceiling is None or alpha is None:
            return None
        if not (0 <= hits <= trials and trials > 0 and 0 < ceiling < 1 and 0 < alpha < 1):
            return None
        return cls(hits, trials, ceiling, alpha, claim.stopping or Stopping.FIXED)

    def upper_bound(self, hits: int) -> float:
        """Upper bound on the rate by the claim's own rule, if `hits` of its images were hits."""
        if self.stopping != Stopping.EARLY or self.alpha >= 0.5:
            return bounds.upper_bound(hits, self.trials, self.alpha)
        rule = SequentialClaim("rate", self.ceiling, self.ceiling, self.alpha, self.alpha)
        return rule.upper(OutcomeCounts(self.trials - hits, 0, hits))

    def allowed_hits(self) -> int:
        """The largest number of hits with which the claim passes; -1 if there is none."""
        return bounds.smallest(lambda hits: self.upper_bound(hits) > self.ceiling, 0, self.trials) - 1


def recounted_claims(records: Sequence[CaseRecord], samples: Samples) -> Iterator[ClaimResult]:
    """Every pooled claim on a rate with the labels of one person; `samples` holds all strata."""
    for record in records:
        claim = RateClaim.of(record.claim)
        if record.pooled and record.group in _GROUPS and claim is not None:
            yield _recounted(record, claim, samples)


def _recounted(record: CaseRecord, claim: RateClaim, samples: Samples) -> ClaimResult:
    detected, undetected = Stratum(record.group, True), Stratum(record.group, False)
    of_claim = [samples[detected], samples[undetected]]
    # An image that belongs to another stratum as well is in no sample of this claim: it may show the target.
    unsampled = max(0, claim.trials - sum(sample.population for sample in of_claim))
    upper = min(claim.trials, finite_population.strata_upper_bound(of_claim, ALPHA) + unsampled)
    return ClaimResult(
        title=record.title,
        trials=claim.trials,
        judged=claim.hits,
        labelled=samples[undetected].labelled,
        missed=samples[undetected].positives,
        upper=upper,
        rate_upper=claim.upper_bound(upper),
        ceiling=claim.ceiling,
        images_for_proof=_images_for_proof(claim.allowed_hits() - unsampled, detected, undetected, samples),
        passed=record.verdict == Verdict.PASS,
    )


def _images_for_proof(allowed: int, detected: Stratum, undetected: Stratum, samples: Samples) -> int | None:
    """The size of a sample that proves at most `allowed` images if every detection is right and it contains no miss.

    None if no sample does.
    """
    detections, rest = samples[detected], samples[undetected]
    if rest.positives or rest.unsure:
        return None
    level = ALPHA / 2.0 if detections.population else ALPHA
    needed = finite_population.labels_needed(rest.population, allowed - detections.population, level)
    sizes = {stratum: sample.population for stratum, sample in samples.items()}
    return None if needed is None else sample_size_for(undetected, needed, sizes)
