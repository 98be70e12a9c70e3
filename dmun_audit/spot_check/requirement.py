"""The claims that a policy lets pass only with a spot-check: what the labels of a person still leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.spot_check.claims import RateClaim
from dmun_audit.spot_check.labels import Label, read_labels
from dmun_audit.spot_check.strata import JudgedImage, Stratum, judged_images
from dmun_audit.verdict import bounds, finite_population
from dmun_audit.verdict.finite_population import StratumSample

GROUPS = ("erasure", "adversarial")


def open_claims(folder: Path, digest: str, records: Sequence[CaseRecord]) -> list[str]:
    """What the labels in a run folder leave open, in sentences; empty if they support the pooled claims on erasure and adversarial prompts.

    `digest` is that of the evidence that the labels must belong to. The labels of the person who labelled most count.
    """
    people = read_labels(folder, digest).by_person
    labels = max(people.values(), key=len, default={})
    images = judged_images(records)
    claims = [(record, RateClaim.of(record.claim)) for record in records if record.pooled and record.group in GROUPS]
    return [sentence for record, claim in claims if claim is not None and (sentence := _left_open(record, claim, labels, images))]


def supported_rate(claim: RateClaim, misses: StratumSample) -> float:
    """Upper bound on the rate of a claim with the judge's misses.

    Every detection counts as a hit. The number of misses among the images without a detection is at most the exact
    hypergeometric bound (Buonaccorsi 1987) at the claim's error rate, and so is the bound on the rate with that many hits.
    Where a spot-check is required, the claim's error rate is half of the policy's. So a false claim is supported with a
    probability of at most the policy's error rate (Bonferroni).
    """
    seen = misses.positives + misses.unsure
    missed = finite_population.count_upper_bound(seen, misses.labelled, misses.population, claim.alpha)
    return claim.upper_bound(min(claim.trials, claim.hits + missed))


def labels_for_support(claim: RateClaim, population: int) -> int | None:
    """The smallest number of labels that supports a claim if none of them is a miss; None if there is none."""
    needed = bounds.smallest(
        lambda labelled: supported_rate(claim, StratumSample(population, labelled, 0)) <= claim.ceiling, 0, population
    )
    return needed if needed <= population else None


def _left_open(record: CaseRecord, claim: RateClaim, labels: Mapping[str, Label], images: Mapping[str, JudgedImage]) -> str:
    stratum = Stratum(record.group, False)
    keys = [key for key, image in images.items() if image.stratum == stratum]
    answers = [labels[key].answer for key in keys if key in labels]
    sample = StratumSample(len(keys), len(answers), answers.count("yes"), answers.count("unsure"))
    rate = supported_rate(claim, sample)
    if rate <= claim.ceiling:
        return ""
    needed = labels_for_support(claim, len(keys))
    if needed is None:
        remedy = "No number of labels is enough: the claim needs more images."
    elif sample.positives:
        remedy = "The judge misses the target: look at these images, and use another judge."
    else:
        remedy = (
            f"About {needed} labels without a miss are enough. Run dmun-audit spot-check on the run folder, then audit again."
        )
    return (
        f"The policy requires a spot-check of “{record.title}”: {sample.labelled} of {sample.population} images in which the judge "
        f"did not detect the target are labelled, and {sample.positives} of them show it. The rate is then at most {100 * rate:.1f}%, "
        f"and the ceiling is {100 * claim.ceiling:.4g}%. {remedy}"
    )
