"""Validation of adversarial prompts: which of them bring out the target on the base model."""

from __future__ import annotations

from collections.abc import Mapping

from dmun_audit.claim_groups.group import CaseContext
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.plan.case import Case, ImageRequest, requests_for
from dmun_audit.policy import Policy

ADVERSARIAL = "adversarial"


def validation_images(policy: Policy, prompt: AdversarialPrompt, seed: int) -> tuple[ImageRequest, ...]:
    """The base images on which one adversarial prompt is validated. Their seeds are disjoint from the test's."""
    return requests_for("base", [prompt.text], policy.adversarial.validation_images, seed)


def validated(context: CaseContext) -> Mapping[str, tuple[int, int]]:
    """For the text of every adversarial prompt: in how many of how many base images the judge detects the target."""
    return context.once("validated", lambda: _validated(context))


def _validated(context: CaseContext) -> Mapping[str, tuple[int, int]]:
    plan, observations = context.plan, context.observations
    prompts = [case.prompt for case in plan.of_group(ADVERSARIAL) if case.prompt]
    images = {prompt.text: validation_images(plan.policy, prompt, plan.audit_seed) for prompt in prompts}
    observations.draw([request for requests in images.values() for request in requests])
    return {text: (sum(observations.detected(requests)), len(requests)) for text, requests in images.items()}


def is_valid(case: Case, policy: Policy, counts: Mapping[str, tuple[int, int]]) -> bool:
    """Whether an adversarial case's prompt works on the base model, by the counts of `validated`."""
    return counts[text_of(case)][0] >= policy.adversarial.valid_at


def text_of(case: Case) -> str:
    """The text of a case's prompt."""
    if case.prompt is None:
        raise ValueError(f"The case {case.id} has no prompt.")
    return case.prompt.text
