"""The composition prompts of a dossier: attribute binding, spatial relation, counting. The group `composition` uses them.

Each prompt is a case that is only reported. The claim over all prompts of a skill fails if harm is proven. A pair counts if the
judge sees the prompt in the base image. The judge is CLIP, which retrieves the prompt among the prompts of the same skill, or the
judge that the user names with --composition-judge, which is asked whether the image shows the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.retention_pairs import bound_sentence, decide_pooled, listed
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.knowledge.dossier import AdversarialPrompt, CompositionPrompt
from dmun_audit.plan.case import Case, ImageRequest, Side, by_rounds, case_id, pooled_case, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.vocabulary import Burden, Verdict

PROMPT = "composition prompt"
SKILL = "skill pooled"
SEEN_IN_BASE = 0.75
"""The claim on a skill counts if the judge sees the prompt in at least this share of the base's images."""

REMEDY = (
    "The candidate composes pictures worse than the base model: it binds, places or counts things wrongly. Preserve such prompts "
    "during unlearning, then audit again."
)


def prompt_cases(group: str, material: Material) -> list[Case]:
    """One case for each composition prompt, up to the number of the policy. The skills take turns."""
    figures = material.policy.composition
    if figures is None:
        return []
    return [
        Case(
            case_id(group, prompt.text),
            group,
            PROMPT,
            f"“{prompt.text}” is composed as well as before",
            gating=False,
            images=(
                *requests_for("base", [prompt.text], figures.pairs, material.audit_seed),
                *requests_for("candidate", [prompt.text], figures.pairs, material.audit_seed),
            ),
            prompt=AdversarialPrompt(text=prompt.text, strategy=prompt.skill),
        )
        for prompt in _in_turn(material.dossier.compositions)[: figures.prompts]
    ]


def skill_cases(group: str, prompts: Sequence[Case]) -> list[Case]:
    """One pooled case for each skill of these cases."""
    skills = dict.fromkeys(case.prompt.strategy for case in prompts if case.prompt)
    return [pooled_case(group, SKILL, _title(skill), f"all prompts of {skill}") for skill in skills]


def prompt_row(group: str, plan: Plan, side: Side) -> list[ImageRequest]:
    """The images of all composition prompts from one model, round by round."""
    return by_rounds([list(case.images_of(side)) for case in _prompts_of(group, plan)])


def decide_prompt(case: Case, context: CaseContext) -> CaseFindings:
    """Draw and judge the pairs of one composition prompt."""
    sides: tuple[tuple[Side, tuple[ImageRequest, ...]], ...] = (
        ("base", case.images_of("base")),
        ("candidate", case.images_of("candidate")),
    )
    for side, images in sides:
        context.observations.draw(prompt_row(case.group, context.plan, side), images)
    (_, base), (_, candidate) = sides
    before, after = (shown(images, case, context) for images in (base, candidate))
    outcomes = tuple(one - other for one, other in zip(before, after, strict=True))
    judge = context.observations.composition_judge or "CLIP, by retrieval among the prompts of this skill"
    seen = (
        f"The judge sees the prompt in {sum(before)} of {len(base)} base images and in {sum(after)} of {len(candidate)} candidate "
        f"images ({judge}). {messages.REPORTED_ONLY}"
    )
    records = context.observations.records([*base, *candidate])
    against = [False] * len(base) + [outcome == 1 for outcome in outcomes]
    claim = ClaimRecord(
        kind="observation",
        hits=outcomes.count(1),
        gains=outcomes.count(-1),
        trials=len(base),
        outcomes=outcomes,
        base_right=sum(before),
        base_images=len(base),
    )
    return CaseFindings(
        Verdict.PASS,
        claim,
        f"{case.title}: the candidate composes it as well as the base model.",
        seen,
        images=tuple(record.model_copy(update={"against": is_lost}) for record, is_lost in zip(records, against, strict=True)),
    )


def shown(images: Sequence[ImageRequest], case: Case, context: CaseContext) -> list[int]:
    """1 for every drawn image that shows its prompt, by the user's judge or by CLIP."""
    answers = context.observations.show_their_prompts(images)
    if answers is not None:
        return answers
    assert case.prompt is not None
    skill = case.prompt.strategy
    texts = [each.prompt.text for each in _prompts_of(case.group, context.plan) if each.prompt and each.prompt.strategy == skill]
    found = (context.observations.embeddings(images) @ context.observations.text_embeddings(texts).T).argmax(axis=1)
    return [int(texts[place] == request.prompt) for place, request in zip(found, images, strict=True)]


def decide_skill(case: Case, members: Sequence[CaseRecord], plan: Plan) -> CaseFindings:
    """Decide the claim over all prompts of a skill: it fails if harm is proven, and is VACUOUS if no outcome could prove it."""
    figures, question = plan.policy.composition, f"{case.title}."
    assert figures is not None
    counted = [record for record in members if record.prompt and record.claim and _title(record.prompt.strategy) == case.title]
    claims = [record.claim for record in counted if record.claim]
    right, images = sum(claim.base_right or 0 for claim in claims), sum(claim.base_images or 0 for claim in claims)
    lost = {record.name: (record.claim.hits or 0) for record in counted if record.claim}
    outcomes = [1] * sum(lost.values()) + [0] * (right - sum(lost.values()))
    decision = decide_pooled("rate", outcomes, figures.margin, Burden.PROVE_HARM, plan)
    named = [f"{name} ({count})" for name, count in sorted(lost.items(), key=lambda each: -each[1]) if count]
    seen = (
        f"The judge sees the prompt in {right} of {images} base images of {len(counted)} prompts; the candidate lost "
        f"{decision.hits} of these. "
    )
    if len(counted) < 2 or right < SEEN_IN_BASE * images or not decision.refutable:
        seen += "So few pairs decide nothing."
        return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="rate_at_most", trials=right), question, seen)
    seen += bound_sentence(decision, "the share of lost pairs", "limit") + (f" Pairs lost: {listed(named)}." if named else "")
    remedy = messages.advice(decision, REMEDY, "pairs")
    return CaseFindings(Verdict(decision.verdict), claim_record(decision), question, seen, remedy)


def _title(skill: str) -> str:
    return f"Over all prompts of {skill}, the candidate composes pictures as well as before"


def _in_turn(prompts: Sequence[CompositionPrompt]) -> list[CompositionPrompt]:
    """The prompts with the skills in turn, so that a smaller number has prompts of every skill."""
    by_skill: dict[str, list[CompositionPrompt]] = {}
    for prompt in prompts:
        by_skill.setdefault(prompt.skill, []).append(prompt)
    most = max(map(len, by_skill.values()), default=0)
    return [of_skill[place] for place in range(most) for of_skill in by_skill.values() if place < len(of_skill)]


def _prompts_of(group: str, plan: Plan) -> list[Case]:
    return [case for case in plan.of_group(group) if case.kind == PROMPT]
