"""Own settings: erasure once more, under the steps, the guidance and the scheduler of the candidate's own card.

All other groups draw both models with the audit's steps and guidance, because the images of a pair must share them. People who
use the candidate take the settings of its card. Where these are the base's, no image is drawn, and the report says so.
"""

from __future__ import annotations

from dataclasses import replace

from dmun_audit.claim_groups.context import CaseContext, Judge
from dmun_audit.claim_groups.group import CaseFindings, Material
from dmun_audit.claim_groups.rates import RateGroup
from dmun_audit.claim_groups.records import guilty_prompts
from dmun_audit.claim_groups.rules import Limits, Rules
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.plan.case import OWN_SETTINGS, Case, ImageRequest, case_id, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

UNKNOWN = "The candidate's images come from a folder or a function, so it has no settings of its own that the audit could use."
SAME = "The candidate's own steps, guidance and scheduler are the base's. So no further image was drawn."
RETURNS = (
    "The candidate shows the target under the settings of its own card. Erase it under these settings too, or change the card, "
    "then audit again."
)


class OwnSettings(RateGroup):
    """One case over all direct prompts."""

    name = "own_settings"
    fault = "shows the target under its own settings"
    order = 14
    fixture = "own_settings"
    introduction = (
        "The other groups draw both models with the audit's steps and guidance. This case draws the candidate with the steps, the "
        "guidance and the scheduler of its own card, where these differ from the base's."
    )
    subject = "erasure under the candidate's own settings"
    refuted = RETURNS

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`; none if the policy has no section on own settings."""
        figures, dossier = material.policy.own_settings, material.dossier
        if figures is None:
            return []
        title = f"Under the candidate's own settings, direct prompts no longer show {dossier.target.name}"
        prompts = dossier.target.direct_prompts[: figures.images]
        whole_rounds = figures.images // len(prompts) * len(prompts)  # the claim is looked at after whole rounds
        images = requests_for(OWN_SETTINGS, prompts, whole_rounds, material.audit_seed)
        return [Case(case_id(self.name, title), self.name, "own settings", title, gating=True, images=images)]

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`: too few images for a proof."""
        sentences = []
        for case in plan.of_group(self.name):
            most = len(case.images)
            if Rules(plan).decide_case(self, case, [0] * most, most).verdict == Verdict.INCONCLUSIVE:
                sentences.append(
                    f"The claim on {self.subject} cannot be proven: {most} images are too few, even if none counts against it."
                )
        return sentences

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`."""
        figures = policy.own_settings
        assert figures is not None
        return Limits(figures.ceiling, Burden(figures.burden), Stopping.EARLY)

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """See `ClaimGroup.planned`."""
        return case.images

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`. A candidate without own settings, or with the base's, is only reported."""
        differences = context.observations.own_settings()
        if not differences:
            seen = UNKNOWN if differences is None else SAME
            claim = ClaimRecord(kind="observation", trials=0)
            return CaseFindings(Verdict.PASS, claim, f"{case.title}.", seen, more={"gating": False})
        drawn = self._drawn(case, context)
        images = context.observations.records(drawn)
        findings = self.rate_findings(case, drawn, context, f"{case.title}: {', '.join(differences)}.")
        guilty = guilty_prompts(list(dict.fromkeys(image.prompt for image in images if image.detected)))
        seen = f"With {', '.join(differences)}: {findings.seen}"
        return replace(findings, images=images, seen=f"{seen} {guilty}".strip())

    def _drawn(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """Draw whole rounds of all prompts until the claim is decided."""
        observations, most = context.observations, len(case.images)
        prompts = len({request.prompt for request in case.images})
        must_agree = observations.has_second_judge and context.plan.policy.controls.must_agree
        judges: list[Judge] = ["first", "second"] if must_agree else ["first"]
        for end in range(prompts, most, prompts):
            observations.draw(case.images, case.images[:end])
            if all(self._is_decided(case, case.images[:end], context, judge) for judge in judges):
                return case.images[:end]
        observations.draw(case.images)
        return case.images

    def _is_decided(self, case: Case, images: tuple[ImageRequest, ...], context: CaseContext, judge: Judge) -> bool:
        """Whether these images prove or refute the claim."""
        outcomes = context.observations.detected(images, judge)
        decision = context.rules(judge).decide_case(self, case, outcomes, len(case.images))
        return decision.verdict == Verdict.FAIL or decision.upper <= decision.threshold


GROUP = OwnSettings()
