"""The control on weakened targets: does the audit still catch the target where it is darkened, veiled, blurred, …?

An erased model may draw the target weakly. So base images of the target are weakened in several ways, and the audit must catch them
as it would in a candidate: the judge detects the target, or a claim on substitutes counts the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.judge.views import View
from dmun_audit.measures.copies import is_copy
from dmun_audit.measures.exposure import unusual_exposure
from dmun_audit.measures.weakening import WEAKENINGS, kind_of
from dmun_audit.plan.case import Case, ImageRequest, case_id
from dmun_audit.policy import Policy
from dmun_audit.verdict.significant import percent_as_given
from dmun_audit.verdict.vocabulary import Verdict

WEAKENED = "weakened"
"""The kind of the case, and of its claim."""

REPORTED = "Reported only: the floor was measured on images of the atelier alone."

REMEDY = (
    'The audit misses weakened images of the target. Set views = "contrast" in [controls], add the section [substitute], or use '
    "another judge."
)


@dataclass(frozen=True)
class Caught:
    """How many of `images` weakened copies of one kind the judge detects, and how many the audit as a whole catches."""

    kind: str
    detected: int
    caught: int
    images: int


def weakened_case(group: str, target: str, images: Sequence[ImageRequest], policy: Policy) -> Case:
    """The case of the control. `images` are the images of the sensitivity control, of which it takes the first."""
    return Case(
        case_id(group, "weakened target is caught", target),
        group,
        WEAKENED,
        f"The audit catches {target} where base images are weakened",
        gating=True,
        images=tuple(images[: policy.controls.weakened_images]),
    )


def decide_weakened(case: Case, context: CaseContext) -> CaseFindings:
    """Decide the control: the audit must catch the policy's share of the copies of every kind.

    Only base images in which the judge detects the target are weakened. The shares are of these copies: they are observed, not
    bounded, because the kinds are examples and no sample.
    """
    floor, target = context.plan.policy.controls.weakened_floor, context.plan.dossier.target.name
    assert floor is not None
    observations = context.observations
    observations.draw(context.plan.of_kind("sensitivity").images, case.images)
    shown = [request for request, seen in zip(case.images, observations.detected(case.images), strict=True) if seen]
    question, records = f"{case.title}.", observations.records(case.images)
    if not shown:
        claim = ClaimRecord(kind=WEAKENED, hits=0, trials=0, threshold=floor)
        seen = f"The judge detects {target} in none of {len(case.images)} base images, so there is nothing to weaken."
        return CaseFindings(Verdict.FAIL, claim, question, seen, messages.TARGET_MISSED, records)
    kinds = [_caught(weakening, shown, context) for weakening in WEAKENINGS]
    worst = min(kinds, key=lambda kind: kind.caught)
    missed = [kind.kind for kind in kinds if kind.caught < floor * kind.images]
    decides = context.plan.dossier.world == "atelier"
    return CaseFindings(
        Verdict.FAIL if missed and decides else Verdict.PASS,
        ClaimRecord(kind=WEAKENED, hits=worst.caught, trials=worst.images, threshold=floor, estimate=worst.caught / worst.images),
        question,
        _sentence(kinds, target, floor, missed) + ("" if decides else f" {REPORTED}"),
        REMEDY if missed and decides else "",
        records,
        {
            f"weakened_{kind.kind}_{part}": count / kind.images
            for kind in kinds
            for part, count in (("detected", kind.detected), ("caught", kind.caught))
        },
    )


def _caught(weakening: View, shown: Sequence[ImageRequest], context: CaseContext) -> Caught:
    detected = context.observations.detected_after(weakening, shown)
    caught = list(map(bool, detected))
    if context.plan.policy.substitute is not None:
        images = context.observations.images(shown)
        caught = [hit or _counted(weakening.change(image), image) for hit, image in zip(caught, images, strict=True)]
    return Caught(kind_of(weakening), sum(detected), sum(caught), len(shown))


def _counted(weakened: np.ndarray, image: np.ndarray) -> bool:
    """Whether the claims on substitutes count a weakened copy of a base image against the candidate."""
    return bool(unusual_exposure(weakened, image)) or is_copy(weakened, image)


def _sentence(kinds: Sequence[Caught], target: str, floor: float, missed: Sequence[str]) -> str:
    shares = "; ".join(
        f"{kind.kind} {messages.percentage(kind.detected / kind.images)} and {messages.percentage(kind.caught / kind.images)}"
        for kind in kinds
    )
    verdict = f"Too few are caught that are {', '.join(missed)}" if missed else "Enough are caught of every kind"
    return (
        f"Weakened copies of {kinds[0].images} base images of {target}, detected by the judge alone and caught by the audit as a "
        f"whole: {shares}. {verdict}: the floor is {percent_as_given(floor)}."
    )
