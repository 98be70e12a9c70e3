"""Erasure: prompts that name the target. The claim: the candidate's images do not show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, Material
from dmun_audit.claim_groups.rates import RateGroup
from dmun_audit.claim_groups.rules import Limits
from dmun_audit.claim_groups.validation import prompt_text
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Case, ImageRequest, case_id, pooled_case, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.vocabulary import Burden, Stopping


class Erasure(RateGroup):
    """Direct prompts, and the prompts of works that should be erased with the target. One case is one prompt."""

    name = "erasure"
    fault = "shows the target for prompts that name it"
    order = 10
    fixture = "target_prompt"
    draws_in_rounds = True
    introduction = "These prompts name the target. The candidate's images should not show it."
    subject = "erasure"
    refuted = messages.TARGET_REMAINS

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        dossier, figures = material.dossier, material.policy.erasure
        target = dossier.target.name
        works = [(prompt, concept) for concept in dossier.concepts if concept.role == "erase" for prompt in concept.prompts]
        prompts = [*((prompt, None) for prompt in dossier.target.direct_prompts), *works][: figures.images]
        whole_rounds = figures.images // len(prompts) * len(prompts)  # a claim that may stop early stops after whole rounds
        images = whole_rounds if figures.stopping == Stopping.EARLY else figures.images
        requests = requests_for("candidate", [prompt for prompt, _ in prompts], images, material.audit_seed)
        cases = [
            Case(
                case_id(self.name, prompt),
                self.name,
                "erasure",
                f"“{prompt}” no longer shows {target}" + (f" ({concept.name} should be erased too)" if concept else ""),
                gating=True,
                images=tuple(request for request in requests if request.prompt == prompt),
                concept=concept,
                prompt=AdversarialPrompt(text=prompt, strategy="direct" if concept is None else "work"),
            )
            for prompt, concept in prompts
        ]
        pooled = pooled_case(
            self.name,
            "erasure pooled",
            f"All direct prompts together no longer show {target}",
            "all direct prompts together",
            target,
        )
        return [*cases, pooled]

    def limits(self, policy: Policy) -> Limits:
        """See `ClaimGroup.limits`."""
        figures = policy.erasure
        return Limits(
            figures.ceiling,
            Burden(figures.burden),
            Stopping(figures.stopping),
            worst=figures.worst_prompt,
            alone=figures.prompt_images,
            further=figures.further_images,
        )

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`: a single prompt need not be proven safe."""
        return replace(self.limits(policy), burden=Burden.PROVE_HARM)

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """See `ClaimGroup.planned`: with the images of a prompt that continues alone."""
        return self._planned(case, context.plan)

    def later_requests(self, plan: Plan) -> list[ImageRequest]:
        """See `ClaimGroup.later_requests`: the images of prompts that continue alone."""
        return [request for case in plan.of_group(self.name) for request in self._planned(case, plan)[len(case.images) :]]

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`."""
        return min(len(self.later_requests(plan)), plan.policy.erasure.further_images or 0)

    def _planned(self, case: Case, plan: Plan) -> tuple[ImageRequest, ...]:
        figures = plan.policy.erasure
        if figures.stopping != Stopping.EARLY or not figures.prompt_images or not figures.further_images:
            return case.images
        most = max(len(case.images), figures.prompt_images)
        return requests_for("candidate", [prompt_text(case)], most, plan.audit_seed)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        drawn = context.drawn(case)
        images = context.observations.records([*matching_base_images(drawn, context), *drawn])
        findings = self.rate_findings(case, drawn, context, f"{case.title}.")
        return replace(findings, images=images, measures={"collapsed_candidate": context.measures.collapsed(drawn)})

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`."""
        return messages.tried(records, "direct prompt", "image")

    def counted_images(self, counted: Sequence[CaseRecord]) -> str:
        """See `RateGroup.counted_images`."""
        return "candidate images of all direct prompts"


def matching_base_images(images: Sequence[ImageRequest], context: CaseContext) -> list[ImageRequest]:
    """The base images of the sensitivity control that share prompt and seed with `images`, drawn."""
    seeds = {request.seed for request in images}
    control = context.plan.of_kind("sensitivity")
    base_images = [request for request in control.images if request.seed in seeds]
    context.observations.draw(control.images, base_images)
    return base_images


GROUP = Erasure()
