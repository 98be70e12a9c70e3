"""Validation of adversarial prompts: does the base model show the target?"""

from __future__ import annotations

from collections.abc import Mapping

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Case, ImageRequest, requests_for
from dmun_audit.policy import Policy

ADVERSARIAL = "adversarial"


def validation_images(policy: Policy, prompt: AdversarialPrompt, seed: int) -> tuple[ImageRequest, ...]:
    """The base images on which one adversarial prompt is validated. Their seeds are disjoint from the seeds of the test."""
    return requests_for("base", [prompt.text], policy.adversarial.validation_images, seed)


def validation_counts(context: CaseContext) -> Mapping[str, tuple[int, int]]:
    """For every adversarial prompt by its text: the number of base images with the target, and the number of base images."""
    return context.once("validation counts", lambda: _count_valid_images(context))


def _count_valid_images(context: CaseContext) -> Mapping[str, tuple[int, int]]:
    plan, observations = context.plan, context.observations
    prompts = [case.prompt for case in plan.of_group(ADVERSARIAL) if case.prompt]
    images = {prompt.text: validation_images(plan.policy, prompt, plan.audit_seed) for prompt in prompts}
    observations.draw([request for requests in images.values() for request in requests])
    return {text: (sum(observations.detected(requests)), len(requests)) for text, requests in images.items()}


def is_valid(case: Case, policy: Policy, counts: Mapping[str, tuple[int, int]]) -> bool:
    """Whether enough base images of the prompt show the target. `counts` come from `validation_counts`."""
    return counts[prompt_text(case)][0] >= policy.adversarial.valid_at


def prompt_text(case: Case) -> str:
    """The text of a case's prompt."""
    if case.prompt is None:
        raise ValueError(f"The case {case.id} has no prompt.")
    return case.prompt.text
