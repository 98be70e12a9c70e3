"""Substitute: what the candidate draws in place of the target. A candidate that draws rubbish shows no target either.

All questions are about images that the claims on erasure and the controls draw: candidate images of direct prompts, and base images
of the same prompts and seeds. The number of images may come from early stopping, so every claim is anytime-valid.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.erasure import GROUP as ERASURE
from dmun_audit.claim_groups.erasure import matching_base_images
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.rules import Limits
from dmun_audit.claim_groups.substitute_questions import COPIES, EMPTY, EXPOSURE, QUESTIONS, REPEATS
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import ImageRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.plan.case import Case, ImageRequest, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy, Substitute
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

UNCALIBRATED = "its limit was measured on images of the atelier alone"


class SubstituteImages(ClaimGroup):
    """One case is one question about the candidate's images of direct prompts."""

    name = "substitute"
    fault = "draws the wrong thing in the target's place"
    order = 12
    fixture = "substitute"
    introduction = (
        "These are the candidate's images where the target was. They should be proper images of what else the prompt asks for, and "
        "not empty, damaged or always the same."
    )
    subject = "substitutes"
    rests_on_detector = False

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`: empty images are reported under every policy."""
        policy, target = material.policy, material.dossier.target.name
        kinds = QUESTIONS if policy.substitute else {EMPTY: QUESTIONS[EMPTY]}
        return [
            Case(
                case_id(self.name, kind, target),
                self.name,
                kind,
                question.title.format(target=target),
                gating=policy.substitute is not None and _is_calibrated(kind, material.dossier),
            )
            for kind, question in kinds.items()
        ]

    def is_required(self, case: Case, plan: Plan) -> bool:
        """See `ClaimGroup.is_required`: not where the policy makes no claim on substitutes."""
        return plan.policy.substitute is not None

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`: questions with too few images, even if the claim on erasure takes all of its images."""
        sentences = []
        for case in plan.of_group(self.name):
            claim = SequentialClaim("rate", *(self._ceiling(case, plan.policy),) * 2, plan.policy.alpha, plan.alpha_fail)
            most, needed = _most_images(case.kind, plan), claim.clean_images()
            if case.gating and 0 < most < needed:
                clean = claim.upper(OutcomeCounts(most, 0, 0))
                sentences.append(
                    messages.cannot_be_proven(
                        f"The claim “{case.title}”", most, "images", clean, self._ceiling(case, plan.policy), needed
                    )
                )
        return sentences

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`."""
        return Limits(self._ceiling(case, policy), Burden.PROVE_SAFE, Stopping.EARLY)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        question = QUESTIONS[case.kind]
        answers = question.answer(context)
        outcomes = [outcome for _, outcome in answers.counted]
        decision = context.rules().decide_case(self, case, outcomes, len(outcomes))
        claim, asked = claim_record(decision, outcomes=tuple(outcomes)), f"{case.title}."
        records = _records(answers.counted, context)
        if answers.vacuous:
            return CaseFindings(Verdict.VACUOUS, claim, asked, answers.vacuous, images=records, measures=answers.measures)
        seen = messages.rate_sentence(question.what, decision, question.images, verb=question.verb)
        seen = " ".join(filter(None, [seen, _worst_prompts(answers.counted)]))
        if not case.gating:
            claim = claim.model_copy(update={"kind": "observation"})
            why = UNCALIBRATED if context.plan.policy.substitute else "this policy makes no claim on substitutes"
            seen = f"{seen} Reported only: {why}."
            return CaseFindings(Verdict.PASS, claim, asked, seen, images=records, measures=answers.measures)
        remedy = _remedy(decision, question.remedy)
        return CaseFindings(Verdict(decision.verdict), claim, asked, seen, remedy, records, answers.measures)

    def _ceiling(self, case: Case, policy: Policy) -> float:
        return QUESTIONS[case.kind].ceiling(policy.substitute or Substitute())


def _is_calibrated(kind: str, dossier: Dossier) -> bool:
    """Whether a question may decide. The limits of copies and exposure were measured on images of the atelier alone."""
    return dossier.world == "atelier" or kind not in (COPIES, EXPOSURE)


def _most_images(kind: str, plan: Plan) -> int:
    """The largest number of images that a question may count."""
    planned = [case.images_of("candidate") for case in plan.of_group(ERASURE.name) if case.prompt and not case.concept]
    if kind == EMPTY:
        return sum(map(len, planned))
    if kind == REPEATS:
        return sum(max(0, len(images) - 1) for images in planned)
    base = {(request.prompt, request.index) for request in plan.of_kind("sensitivity").images}
    return sum((request.prompt, request.index) in base for images in planned for request in images)


def _records(counted: Sequence[tuple[ImageRequest, int]], context: CaseContext) -> tuple[ImageRecord, ...]:
    candidate = [request for request, _ in counted]
    base = matching_base_images(candidate, context)
    records = context.observations.records([*base, *candidate])
    flags = [None] * len(base) + [bool(outcome) for _, outcome in counted]
    return tuple(record.model_copy(update={"against": flag}) for record, flag in zip(records, flags, strict=True))


# The words.


def _worst_prompts(counted: Sequence[tuple[ImageRequest, int]]) -> str:
    """The prompts with the highest rates; empty if no image counts."""
    members = []
    for prompt in dict.fromkeys(request.prompt for request, _ in counted):
        outcomes = [outcome for request, outcome in counted if request.prompt == prompt]
        members += [(f"“{prompt}”", sum(outcomes), len(outcomes))] if any(outcomes) else []
    members.sort(key=lambda member: member[1] / member[2], reverse=True)
    return messages.highest_rates(members, "images")


def _remedy(decision: Decision, refuted: str) -> str:
    if decision.verdict == Verdict.FAIL:
        return refuted
    if decision.verdict == Verdict.PASS:
        return ""
    if decision.needed is None:
        return f"At this rate, no number of images would prove the claim. {refuted}"
    return (
        f"Look at these images. At this rate, about {decision.needed:,} images in all would prove the claim. A lower "
        "erasure.ceiling and more controls.sensitivity_images draw more."
    )


GROUP = SubstituteImages()
