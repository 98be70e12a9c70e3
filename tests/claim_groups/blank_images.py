"""Blank images: at most so many candidate images of direct prompts are nearly of one colour.

A claim group as another package brings it: this file is all of it. The policy's table `[groups.blank]` holds its figures:
`images`, how many candidate images are looked at, and `ceiling`, the limit of their rate. Without that table it claims nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.context import CaseContext, JudgeOutcomes
from dmun_audit.claim_groups.erasure import GROUP as ERASURE
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record, with_highest_rates
from dmun_audit.claim_groups.rules import Limits, Outcomes, Rules
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Case, ImageRequest, Side, case_id, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.claims import Decision, rate_at_most
from dmun_audit.verdict.vocabulary import Burden, Verdict

WHAT = "next to nothing"
REMEDY = "The candidate draws nothing where it should draw something else. Erase less strongly, then audit again."


class Figures(BaseModel):
    """The table `[groups.blank]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    images: int = Field(ge=1)
    ceiling: float = Field(gt=0, lt=1)


class BlankImages(ClaimGroup):
    """One case is one direct prompt; the pooled claim covers all of them."""

    name = "blank"
    order = 50
    fixture = "blank_prompt"
    introduction = "A model that draws nothing shows no target either."
    subject = "blank images"
    rests_on_detector = False

    def cases(self, material: Material) -> list[Case]:
        figures = figures_of(material.policy)
        if figures is None:
            return []
        prompts = material.dossier.target.direct_prompts[: figures.images]
        requests = requests_for("candidate", prompts, figures.images, material.audit_seed)
        cases = [
            Case(
                case_id(self.name, prompt),
                self.name,
                "blank",
                f"“{prompt}” still draws something",
                gating=True,
                images=tuple(request for request in requests if request.prompt == prompt),
                prompt=AdversarialPrompt(text=prompt, strategy="direct"),
            )
            for prompt in prompts
        ]
        pooled = Case(
            case_id(self.name, "all"), self.name, "blank pooled", "All direct prompts draw something", gating=True, pooled=True
        )
        return [*cases, pooled]

    def limits(self, policy: Policy) -> Limits | None:
        figures = figures_of(policy)
        return Limits(figures.ceiling, Burden.PROVE_HARM) if figures else None

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        return ERASURE.rows(plan, side)  # the same images, in the same batches

    def outcomes(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> JudgeOutcomes:
        return JudgeOutcomes([round(context.measures.collapsed([image])) for image in images])

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        return rate_at_most(sum(map(sum, outcomes)), sum(map(len, outcomes)), limit, plan.policy.alpha, plan.alpha_fail)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        drawn = context.drawn(case)
        outcomes = self.outcomes(case, drawn, context).first
        decision = context.rules().decide_case(self, case, outcomes, context.max_images(case))
        records = context.observations.records(drawn)
        return CaseFindings(
            Verdict(decision.verdict),
            claim_record(decision, outcomes=tuple(outcomes)),
            f"{case.title}.",
            messages.rate_sentence(WHAT, decision, "candidate images"),
            messages.advice(decision, REMEDY, "images of this prompt"),
            tuple(record.model_copy(update={"against": bool(blank)}) for record, blank in zip(records, outcomes, strict=True)),
        )

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        decision = Rules(plan).decide_group(self, [record.claim.outcomes or () for record in members if record.claim])
        findings = CaseFindings(
            Verdict(decision.verdict),
            claim_record(decision),
            f"{case.title}.",
            messages.rate_sentence(WHAT, decision, "candidate images of all direct prompts"),
            messages.advice(decision, REMEDY, "images"),
        )
        return with_highest_rates(findings, members, self.unit)


def figures_of(policy: Policy) -> Figures | None:
    """The group's figures; None where the policy makes no such claim."""
    if "blank" not in policy.groups:
        return None
    try:
        return Figures.model_validate(policy.groups["blank"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("groups", "blank", *first["loc"])))
        raise UsageError(f"policy {policy.name!r}: {key}: {first['msg']}", "", "correct the policy") from None


GROUP = BlankImages()
