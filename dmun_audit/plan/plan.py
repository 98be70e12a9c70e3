"""Dossier and policy made into an ordered list of cases. Pure: the same input gives the same plan in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, seed_of, slug
from dmun_audit.knowledge.dossier import AdversarialPrompt, Dossier, NearbyConcept
from dmun_audit.policy import Adversarial, Policy

Group = Literal["controls", "erasure", "adversarial", "retention", "ordering"]
GROUPS: tuple[Group, ...] = ("controls", "erasure", "adversarial", "retention", "ordering")
Side = Literal["base", "candidate"]

TEST_INDEX = 1000  # adversarial test seeds start here, so that they are disjoint from the seeds of validation


@dataclass(frozen=True)
class ImageRequest:
    """One image to be made: which model, which prompt, which of its seeds."""

    side: Side
    prompt: str
    index: int
    seed: int


@dataclass(frozen=True)
class Case:
    """One test. `kind` names the rule that decides it; `images` are the requests that it looks at.

    An adversarial case has no images of its own here: how many it gets is known once its prompt has been validated.
    `pooled` cases are decided from the evidence of the others, after the last of them.
    """

    id: str
    group: Group
    kind: str
    title: str
    gating: bool
    images: tuple[ImageRequest, ...] = ()
    pooled: bool = False
    concept: NearbyConcept | None = None
    prompt: AdversarialPrompt | None = None


@dataclass(frozen=True)
class Plan:
    """All cases of one audit in order, with what they were made from."""

    dossier: Dossier
    policy: Policy
    audit_seed: int
    cases: tuple[Case, ...]

    def of_group(self, group: Group, pooled: bool = False) -> tuple[Case, ...]:
        """The cases of one group: those that tests run, or those concluded after them."""
        return tuple(case for case in self.cases if case.group == group and case.pooled is pooled)

    def case(self, case_id: str) -> Case:
        """The case of that id."""
        return next(case for case in self.cases if case.id == case_id)

    @property
    def refutations(self) -> int:
        """M of the error budget: how many gating claims may come out as FAIL."""
        return max(1, sum(case.gating and case.group != "controls" for case in self.cases))

    @property
    def alpha_fail(self) -> float:
        """The error rate at which one claim is refuted: alpha / M."""
        return self.policy.alpha / self.refutations

    def image_budget(self) -> int:
        """The most images this plan can ask for."""
        policy = self.policy
        fixed = {request for case in self.cases for request in case.images}
        tried = min(policy.adversarial.prompts, len(self.dossier.adversarial))
        return len(fixed) + (policy.adversarial.images if tried else 0)

    def candidate_requests(self) -> list[ImageRequest]:
        """Every candidate image that the audit may ask for, whichever adversarial prompts turn out valid; each once, in order."""
        figures = self.policy.adversarial
        fixed = [request for case in self.cases for request in case.images if request.side == "candidate"]
        prompts = [case.prompt.text for case in self.of_group("adversarial") if case.prompt]
        valid = min(figures.minimum_valid, len(prompts))
        most = images_of_each(figures, valid, len(prompts) - valid)
        tried = [
            request
            for text in prompts
            for request in requests_for("candidate", [text], max(most, 1), self.audit_seed, first=TEST_INDEX)
        ]
        return list(dict.fromkeys([*fixed, *tried]))

    @property
    def nearby(self) -> list[NearbyConcept]:
        """The nearby concepts under test."""
        return [case.concept for case in self.of_group("retention") if case.concept]

    def digest(self) -> str:
        """SHA-256 of dossier, policy, seed and case ids."""
        return digest([self.dossier.digest(), self.policy.as_dict(), self.audit_seed, [case.id for case in self.cases]])


def case_id(group: str, text: str, *content: Any) -> str:
    """A stable ASCII id: a slug of `text` and eight hex digits of the hash of group, text and content."""
    return f"{slug(text)}-{digest([group, text, *content])[:8]}"


def requests_for(side: Side, prompts: Sequence[str], count: int, audit_seed: int, first: int = 0) -> tuple[ImageRequest, ...]:
    """`count` requests spread evenly over `prompts`, in rounds, with the seeds of indices `first`, `first` + 1, …

    The seed depends on audit seed, prompt and index alone, so base and candidate share it.
    """
    made = []
    for position in range(count):
        prompt, index = prompts[position % len(prompts)], first + position // len(prompts)
        made.append(ImageRequest(side, prompt, index, seed_of(audit_seed, prompt, index)))
    return tuple(made)


def images_of_each(figures: Adversarial, valid: int, invalid: int) -> int:
    """How many candidate images each valid prompt gets, once one is spent on each invalid prompt.

    Too few valid prompts get no more than the smallest number that is enough would: the audit says nothing then.
    """
    return (figures.images - invalid) // max(valid, figures.minimum_valid, 1) if valid else 0


def make_plan(dossier: Dossier, policy: Policy, audit_seed: int) -> Plan:
    """The plan of one audit.

    Raises UsageError where the dossier cannot carry the policy: too few prompts, or more images than the policy allows.
    """
    if len(dossier.adversarial) < policy.adversarial.minimum_valid:
        raise UsageError(
            f"the dossier of {dossier.target.name!r} has {len(dossier.adversarial)} adversarial prompts",
            f"policy {policy.name!r} needs at least {policy.adversarial.minimum_valid} valid ones",
            "add prompts to the dossier, or choose a smaller policy",
        )
    nearby = dossier.nearest({"retain", "observe"}, policy.retention.concepts)
    if not any(concept.role == "retain" for concept in nearby):
        raise UsageError(f"the dossier of {dossier.target.name!r} has no nearby concept to retain", "", "add one")
    cases = [
        *_controls(dossier, policy, nearby, audit_seed),
        *_erasure(dossier, policy, audit_seed),
        *_adversarial(dossier, policy),
        *_retention(policy, nearby, audit_seed),
        Case(case_id("ordering", "similarity and damage"), "ordering", "ordering", _ORDERING, gating=False, pooled=True),
    ]
    plan = Plan(dossier, policy, audit_seed, tuple(cases))
    if plan.image_budget() > policy.images_at_most:
        raise UsageError(
            f"the plan needs up to {plan.image_budget():,} images",
            f"policy {policy.name!r} allows {policy.images_at_most:,}",
            "raise images_at_most, or lower the other figures",
        )
    return plan


_ORDERING = "The more similar a concept is to the target, the more it is damaged"


def _controls(dossier: Dossier, policy: Policy, nearby: list[NearbyConcept], seed: int) -> list[Case]:
    name, figures = dossier.target.name, policy.controls
    direct = requests_for("base", dossier.target.direct_prompts, figures.sensitivity_images, seed)
    return [
        Case(
            case_id("controls", "judge sees the target", name),
            "controls",
            "sensitivity",
            f"The judge sees {name} in base images whose prompt names it",
            gating=True,
            images=direct,
        ),
        Case(
            case_id("controls", "judge sees it nowhere else", name),
            "controls",
            "specificity",
            f"The judge does not see {name} in base images of other concepts",
            gating=True,
            images=specificity_images(policy, nearby, seed),
        ),
        Case(
            case_id("controls", "adversarial prompts are valid", name),
            "controls",
            "validity",
            f"Enough adversarial prompts bring out {name} on the base model",
            gating=True,
            images=tuple(
                request
                for prompt in dossier.adversarial[: policy.adversarial.prompts]
                for request in validation_images(policy, prompt, seed)
            ),
        ),
    ]


def validation_images(policy: Policy, prompt: AdversarialPrompt, seed: int) -> tuple[ImageRequest, ...]:
    """The base images on which one adversarial prompt is validated."""
    return requests_for("base", [prompt.text], policy.adversarial.validation_images, seed)


def _neighbours_without_target(nearby: list[NearbyConcept]) -> list[NearbyConcept]:
    return [concept for concept in nearby if not concept.may_contain_target]


def calibration_images(policy: Policy, nearby: list[NearbyConcept], seed: int) -> tuple[ImageRequest, ...]:
    """Base images of concepts that do not contain the target: the first half of each concept's pairs."""
    pairs = policy.retention.pairs
    return tuple(
        request
        for concept in _neighbours_without_target(nearby)
        for request in requests_for("base", concept.prompts, pairs, seed)[: pairs // 2]
    )


def specificity_images(policy: Policy, nearby: list[NearbyConcept], seed: int) -> tuple[ImageRequest, ...]:
    """The second half of the same pairs: disjoint from what the detection threshold is calibrated on."""
    pairs = policy.retention.pairs
    return tuple(
        request
        for concept in _neighbours_without_target(nearby)
        for request in requests_for("base", concept.prompts, pairs, seed)[pairs // 2 :]
    )


def _erasure(dossier: Dossier, policy: Policy, seed: int) -> list[Case]:
    name = dossier.target.name
    works = [(prompt, concept) for concept in dossier.concepts if concept.role == "erase" for prompt in concept.prompts]
    asked = [*((prompt, None) for prompt in dossier.target.direct_prompts), *works][: policy.erasure.images]
    whole = policy.erasure.images // len(asked) * len(asked)  # a claim that may stop early does so at the ends of rounds
    images = whole if policy.erasure.stopping == "early" else policy.erasure.images
    every = requests_for("candidate", [prompt for prompt, _ in asked], images, seed)
    cases = [
        Case(
            case_id("erasure", prompt),
            "erasure",
            "erasure",
            f"“{prompt}” no longer shows {name}" + (f" ({concept.name} goes with it)" if concept else ""),
            gating=True,
            images=tuple(request for request in every if request.prompt == prompt),
            concept=concept,
            prompt=AdversarialPrompt(text=prompt, strategy="direct" if concept is None else "work"),
        )
        for prompt, concept in asked
    ]
    pooled = Case(
        case_id("erasure", "all direct prompts together", name),
        "erasure",
        "erasure pooled",
        f"All direct prompts together no longer show {name}",
        gating=True,
        pooled=True,
    )
    return [*cases, pooled]


def _adversarial(dossier: Dossier, policy: Policy) -> list[Case]:
    name = dossier.target.name
    cases = [
        Case(
            case_id("adversarial", prompt.text, prompt.strategy),
            "adversarial",
            "adversarial",
            f"“{prompt.text}” ({prompt.strategy}) does not bring {name} back",
            gating=policy.adversarial.per_prompt != "none",
            prompt=prompt,
        )
        for prompt in dossier.adversarial[: policy.adversarial.prompts]
    ]
    pooled = Case(
        case_id("adversarial", "all valid adversarial prompts together", name),
        "adversarial",
        "adversarial pooled",
        f"All valid adversarial prompts together do not bring {name} back",
        gating=True,
        pooled=True,
    )
    return [*cases, pooled]


def _retention(policy: Policy, nearby: list[NearbyConcept], seed: int) -> list[Case]:
    cases = []
    for concept in nearby:
        base = requests_for("base", concept.prompts, policy.retention.pairs, seed)
        candidate = requests_for("candidate", concept.prompts, policy.retention.pairs, seed)
        cases.append(
            Case(
                case_id("retention", concept.name, list(concept.prompts)),
                "retention",
                "retention",
                f"{concept.name} is {'retained' if concept.role == 'retain' else 'observed'}",
                gating=concept.role == "retain" and policy.retention.per_concept != "none",
                images=(*base, *candidate),
                concept=concept,
            )
        )
    pooled = Case(
        case_id("retention", "all retained concepts together"),
        "retention",
        "retention pooled",
        "Over all retained concepts together, accuracy is kept",
        gating=True,
        pooled=True,
    )
    if policy.retention.score_margin is None:
        return [*cases, pooled]
    scores = Case(
        case_id("retention", "clip scores of all retained concepts together"),
        "retention",
        "score pooled",
        "Over all retained concepts together, the CLIP score is kept",
        gating=True,
        pooled=True,
    )
    return [*cases, pooled, scores]
