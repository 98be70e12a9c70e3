"""Adversarial prompts ask for the target without plainly naming it. The claim: the candidate does not show the target.

Each prompt is validated on the base model first. If the base model does not show the target, the prompt is VACUOUS and counts
in no claim. It gets one candidate image, and the report mentions a hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, Material
from dmun_audit.claim_groups.rates import RateGroup
from dmun_audit.claim_groups.rules import Limits
from dmun_audit.claim_groups.validation import ADVERSARIAL, is_valid, prompt_text, validation_counts, validation_images
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.plan.case import Case, ImageRequest, case_id, pooled_case, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Adversarial as Figures
from dmun_audit.policy import Policy
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

TEST_INDEX = 1000
"""The first seed index of the test. It keeps the seeds of the test disjoint from the seeds of the validation."""


class Adversarial(RateGroup):
    """One case is one adversarial prompt; the pooled claim covers the valid prompts."""

    name = ADVERSARIAL
    fault = "shows the target for adversarial prompts"
    order = 20
    fixture = "adversarial"
    draws_in_rounds = True
    introduction = (
        "These prompts ask for the target without plainly naming it. The candidate should not show it. Each prompt was first "
        "tested on the base model. If the base model does not show the target either, the prompt is vacuous and counts in no claim."
    )
    subject = "adversarial prompts"
    refuted = messages.TARGET_RECOVERED

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        dossier, policy = material.dossier, material.policy
        target, figures = dossier.target.name, policy.adversarial
        if len(dossier.adversarial) < figures.minimum_valid:
            raise UsageError(
                f"the dossier of {target!r} has {len(dossier.adversarial)} adversarial prompts",
                f"policy {policy.name!r} needs at least {figures.minimum_valid} valid ones",
                "add prompts to the dossier, or choose a smaller policy",
            )
        cases = [
            Case(
                case_id(self.name, prompt.text, prompt.strategy),
                self.name,
                "adversarial",
                f"“{prompt.text}” ({prompt.strategy}) does not bring {target} back",
                gating=figures.per_prompt != Burden.NONE,
                prompt=prompt,
            )
            for prompt in dossier.adversarial[: figures.prompts]
        ]
        pooled = pooled_case(
            self.name,
            "adversarial pooled",
            f"All valid adversarial prompts together do not bring {target} back",
            "all valid adversarial prompts together",
            target,
        )
        return [*cases, pooled]

    def later_requests(self, plan: Plan) -> list[ImageRequest]:
        """See `ClaimGroup.later_requests`: enough for any number of valid prompts."""
        prompts = [prompt_text(case) for case in plan.of_group(self.name)]
        valid = min(plan.policy.adversarial.minimum_valid, len(prompts))
        most = max(1, images_of_each(plan.policy.adversarial, valid, len(prompts) - valid))
        return [request for text in prompts for request in _test_images(text, self._most(most, plan), plan)]

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`."""
        figures = plan.policy.adversarial
        return figures.images + (figures.further_images or 0) if plan.of_group(self.name) else 0

    def _most(self, rounds: int, plan: Plan) -> int:
        """The largest number of images of one prompt: `rounds`, or more if a prompt may continue alone."""
        figures = plan.policy.adversarial
        alone = figures.prompt_images if figures.stopping == Stopping.EARLY and figures.further_images else None
        return max(rounds, alone or 0)

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`: fewer prompts than the policy would test."""
        wanted, available = plan.policy.adversarial.prompts, len(plan.dossier.adversarial)
        return messages.too_few_in_dossier(plan.policy.name, wanted, available, "adversarial prompts")

    def limits(self, policy: Policy) -> Limits:
        """See `ClaimGroup.limits`."""
        figures = policy.adversarial
        worst = figures.worst_prompt if figures.per_prompt == Burden.PROVE_HARM else None
        return Limits(
            figures.ceiling,
            Burden(figures.burden),
            Stopping(figures.stopping),
            worst=worst,
            alone=figures.prompt_images,
            further=figures.further_images,
        )

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`."""
        figures = policy.adversarial
        proven = figures.per_prompt == Burden.PROVE_SAFE
        burden = Burden.PROVE_SAFE if proven else Burden.PROVE_HARM
        return replace(self.limits(policy), limit=figures.per_prompt_ceiling or figures.ceiling, burden=burden)

    def rounds(self, plan: Plan, members: int) -> int:
        """See `ClaimGroup.rounds`; `members` are the valid prompts."""
        return images_of_each(plan.policy.adversarial, members, len(plan.of_group(self.name)) - members)

    def clean_outcomes(self, plan: Plan) -> list[list[int]]:
        """See `ClaimGroup.clean_outcomes`: all prompts are valid."""
        cases = plan.of_group(self.name)
        return [[0] * images_of_each(plan.policy.adversarial, len(cases), 0) for _ in cases]

    def takes_part(self, case: Case, context: CaseContext) -> bool:
        """See `ClaimGroup.takes_part`: a valid prompt does."""
        return is_valid(case, context.plan.policy, validation_counts(context))

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """See `ClaimGroup.planned`."""
        return context.once(f"planned {case.id}", lambda: self._planned(case, context))

    def _planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        if not self.takes_part(case, context):
            return _test_images(prompt_text(case), 1, context.plan)
        cases = context.plan.of_group(self.name)
        valid = sum(self.takes_part(each, context) for each in cases)
        most = images_of_each(context.plan.policy.adversarial, valid, len(cases) - valid)
        return _test_images(prompt_text(case), self._most(most, context.plan), context.plan)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        assert case.prompt is not None
        plan, observations = context.plan, context.observations
        target, figures = plan.dossier.target.name, plan.policy.adversarial
        drawn, (base_hits, base_images) = context.drawn(case), validation_counts(context)[prompt_text(case)]
        images = observations.records([*validation_images(plan.policy, case.prompt, plan.audit_seed), *drawn])
        question = f"{case.title}. On the base model, {base_hits} of {base_images} images show {target}."
        if self.takes_part(case, context):
            return replace(self.rate_findings(case, drawn, context, question), images=images)
        hits, trials = sum(observations.detected(drawn)), len(drawn)
        finding = f" But {hits} of {trials} candidate images show {target}: look at them." if hits else ""
        return CaseFindings(
            Verdict.VACUOUS,
            ClaimRecord(kind="rate_at_most", hits=hits, trials=trials, threshold=figures.ceiling),
            question,
            f"The prompt proves nothing about erasure: too few images of the base model show {target} "
            f"({base_hits} of {base_images}, and {figures.valid_at} are needed).{finding}",
            images=images,
        )

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`: the valid prompts and their strategies."""
        valid = [record for record in records if record.verdict != Verdict.VACUOUS]
        strategies = {record.prompt.strategy for record in valid if record.prompt}
        return messages.tried(valid, "adversarial prompt", "image", messages.counted(len(strategies), "strategy", "strategies"))

    def counted_images(self, counted: Sequence[CaseRecord]) -> str:
        """See `RateGroup.counted_images`."""
        return f"candidate images of {len(counted)} valid adversarial prompts"

    def heading_of(self, record: CaseRecord) -> str:
        """See `ClaimGroup.heading_of`: one heading for each strategy."""
        return f"Strategy: {(record.prompt.strategy if record.prompt else '') or 'none'}"


GROUP = Adversarial()


def images_of_each(figures: Figures, valid: int, invalid: int) -> int:
    """The number of candidate images of each valid prompt. Each invalid prompt takes one image of the budget.

    With fewer valid prompts than `minimum_valid`, each gets the quota that it would have at `minimum_valid`.
    """
    return (figures.images - invalid) // max(valid, figures.minimum_valid, 1) if valid else 0


def _test_images(text: str, count: int, plan: Plan) -> tuple[ImageRequest, ...]:
    return requests_for("candidate", [text], count, plan.audit_seed, first=TEST_INDEX)
