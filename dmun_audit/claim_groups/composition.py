"""Composition: the subjects of nearby concepts. The claim: a house asked for in a retained style is still a house.

The judge retrieves the subject of an image: of the texts of all subjects, the one with the highest cosine to the image. A
subject is what is left of a prompt without the names of its concept and of the target. A subject counts only if the judge
retrieves it from at least four fifths of the base's own images that are in no pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit.claim_groups.composition_prompts import (
    PROMPT,
    SKILL,
    decide_prompt,
    decide_skill,
    prompt_cases,
    prompt_row,
    skill_cases,
)
from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.retention_pairs import (
    bound_sentence,
    concept_cases,
    decide_concept,
    decide_pooled,
    drawn_pairs,
    further_base_images,
    listed,
    retained,
    retention_case,
)
from dmun_audit.claim_groups.subjects import mean_texts
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.knowledge.remainders import concept_names, distinct, remainder
from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.plan.case import Case, ImageRequest, Side, pooled_case
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.vocabulary import Burden, Verdict

RECOGNISED = 0.8
"""A subject counts if the judge retrieves it from at least this share of the base's images of it that are in no pair.

A subject that the judge finds less reliably would be lost in many pairs by chance: a harmless candidate then loses 1 - share."""

REMEDY = (
    "The candidate no longer draws what these prompts ask for. Preserve nearby concepts with several subjects during unlearning, "
    "then audit again."
)
NO_COMPOSITIONS = (
    "The dossier has no composition prompts. The audit does not show whether the candidate still binds attributes to the right "
    "things, places things beside each other, and counts."
)


@dataclass(frozen=True)
class Subjects:
    """The subjects of the retention prompts. `texts` (k, d) are unit vectors; `counts` says which subjects count."""

    names: tuple[str, ...]
    texts: np.ndarray
    counts: tuple[bool, ...]
    of_prompt: dict[str, int]


class Composition(ClaimGroup):
    """One case is one retained concept, on the pairs that retention draws."""

    name = "composition"
    fault = "damages what is around it"
    order = 32
    fixture = "composition"
    introduction = (
        "Nearby concepts are asked for with different subjects. With the same prompts and seeds, the candidate should draw the same "
        "subjects as the base model."
    )
    subject = "subjects"
    outcome = "paired"
    unit = "pairs"

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        figures = material.policy.composition
        if figures is None:
            return []
        cases = concept_cases(self.name, "{concept} keeps its subjects", material, Burden(figures.per_concept))
        pooled = pooled_case(
            self.name,
            "composition pooled",
            "Over all retained concepts together, the subjects are kept",
            "the subjects of all retained concepts together",
        )
        prompts = prompt_cases(self.name, material)
        return [*cases, *prompts, pooled, *skill_cases(self.name, prompts)]

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`."""
        return [NO_COMPOSITIONS] if plan.of_group(self.name) and not plan.dossier.compositions else []

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        """See `ClaimGroup.rows`: the composition prompts alone have images of their own."""
        return [prompt_row(self.name, plan, side)]

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        if case.kind == PROMPT:
            return decide_prompt(case, context)
        subjects = context.once("composition subjects", lambda: _subjects(context))
        base, candidate = drawn_pairs(retention_case(case, context.plan), context)
        pairs = [pair for pair in zip(base, candidate, strict=True) if _counts(pair[0].prompt, subjects)]
        if sum(subjects.counts) < 2 or not pairs:
            return _vacuous(case, subjects)
        base, candidate = zip(*pairs, strict=True)
        found = _retrieved(base, subjects, context), _retrieved(candidate, subjects, context)
        asked = [subjects.of_prompt[request.prompt] for request in base]
        before, after = ([int(each == own) for each, own in zip(side, asked, strict=True)] for side in found)
        return self._findings(case, context, subjects, (base, candidate), found, (before, after))

    def _findings(
        self,
        case: Case,
        context: CaseContext,
        subjects: Subjects,
        pairs: tuple[tuple[ImageRequest, ...], tuple[ImageRequest, ...]],
        found: tuple[list[int], list[int]],
        right: tuple[list[int], list[int]],
    ) -> CaseFindings:
        """The findings on one concept. `found` and `right` hold, for base and candidate, the retrieved subjects and whether they
        are the ones that were asked for."""
        figures, (base, candidate), (before, after) = context.plan.policy.composition, pairs, right
        assert figures is not None
        outcomes = tuple(one - other for one, other in zip(before, after, strict=True))
        shown_by_base = [1 - kept for was, kept in zip(before, after, strict=True) if was]
        if not shown_by_base:
            return _vacuous(case, subjects)
        decision = decide_concept("rate", shown_by_base, figures.per_concept_margin, Burden(figures.per_concept), context.plan)
        lost = [place for place, outcome in enumerate(outcomes) if outcome == 1]
        examples = [f"“{candidate[place].prompt}” shows {subjects.names[found[1][place]]}" for place in lost]
        seen = (
            f"The judge finds the right subject in {sum(before)} of {len(base)} base images of {_name(case)}; with the same prompts "
            f"and seeds the candidate lost {len(lost)} of them and won {outcomes.count(-1)}. "
            + bound_sentence(decision, "the share of lost subjects", "limit")
            + (f" {listed(examples)[:1].upper()}{listed(examples)[1:]}." if examples else "")
        )
        images = context.observations.records([request for place in lost for request in (base[place], candidate[place])])
        labels = [subjects.names[side[place]] for place in lost for side in found]
        return CaseFindings(
            Verdict(decision.verdict),
            claim_record(decision, outcomes=outcomes),
            f"{case.title}: the candidate draws what its prompts ask for.",
            seen,
            messages.advice(decision, REMEDY, "pairs of this concept"),
            tuple(
                image.model_copy(update={"label": label, "against": image.model == "candidate"})
                for image, label in zip(images, labels, strict=True)
            ),
            {"subject_accuracy_base": float(np.mean(before)), "subject_accuracy_candidate": float(np.mean(after))},
        )

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """See `ClaimGroup.decide_pooled`."""
        if case.kind == SKILL:
            return decide_skill(case, members, plan)
        figures = plan.policy.composition
        counted = [record for record in members if record.concept and record.verdict != Verdict.VACUOUS]
        assert figures is not None
        question = f"{case.title}."
        if not counted:
            seen = "The judge recognises no subject of these prompts in the base's images, so nothing can be lost."
            return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="paired_accuracy", trials=0), question, seen)
        outcomes = [value for record in counted if record.claim for value in record.claim.outcomes or ()]
        decision = decide_pooled("paired", outcomes, figures.margin, Burden(figures.burden), plan)
        lost = sorted(((record.claim.hits or 0, record.name) for record in counted if record.claim), reverse=True)
        most = [f"{name} ({count})" for count, name in lost if count]
        seen = (
            f"The claim covers {len(counted)} concepts. In {decision.hits} of {decision.trials} pairs the judge finds the right "
            f"subject only in the base image, in {decision.gains} only in the candidate image. "
            + bound_sentence(decision, "the loss", "margin")
            + (f" Pairs lost: {listed(most)}." if most else "")
        )
        remedy = messages.advice(decision, REMEDY, "pairs")
        return CaseFindings(Verdict(decision.verdict), claim_record(decision), question, seen, remedy)


GROUP = Composition()


def subject_of(prompt: str, concept: NearbyConcept, dossier: Dossier) -> str:
    """The subject of a prompt: the prompt without the names of its concept and of the target."""
    return remainder(prompt, (*concept_names(concept), *dossier.names))


def _name(case: Case) -> str:
    return case.concept.name if case.concept else case.title


def _counts(prompt: str, subjects: Subjects) -> bool:
    return prompt in subjects.of_prompt and subjects.counts[subjects.of_prompt[prompt]]


def _subjects(context: CaseContext) -> Subjects:
    """The subjects of all retention prompts. The text of a subject is the mean of the texts that mean the same."""
    cases, dossier = retained(context.plan), context.plan.dossier
    texts = {
        prompt: subject_of(prompt, case.concept, dossier) for case in cases if case.concept for prompt in case.concept.prompts
    }
    classes = distinct(list(texts.values()))
    places = {words: place for place, words in enumerate(classes)}
    of_prompt = {prompt: places[content_words(text)] for prompt, text in texts.items() if content_words(text) in places}
    names = tuple(" ".join(words) for words in classes)
    if not classes:
        return Subjects((), np.zeros((0, 0)), (), {})
    subjects = Subjects(names, mean_texts(list(classes.values()), context), (True,) * len(names), of_prompt)
    images = [request for case in cases for request in further_base_images(case, context) if request.prompt in of_prompt]
    asked = np.array([of_prompt[request.prompt] for request in images])
    right = np.array(_retrieved(images, subjects, context) if images else []) == asked
    counts = tuple(_is_found(right[asked == place]) for place in range(len(names)))
    return Subjects(names, subjects.texts, counts, of_prompt)


def _is_found(right: np.ndarray) -> bool:
    """Whether the judge retrieves a subject from enough of its base images. A subject without base images is not found."""
    return bool(right.size and right.mean() >= RECOGNISED)


def _retrieved(images: Sequence[ImageRequest], subjects: Subjects, context: CaseContext) -> list[int]:
    """For each image, the place of the subject whose text has the highest cosine to it."""
    return [int(place) for place in (context.observations.embeddings(images) @ subjects.texts.T).argmax(axis=1)]


def _vacuous(case: Case, subjects: Subjects) -> CaseFindings:
    known = [name for name, counts in zip(subjects.names, subjects.counts, strict=True) if counts]
    seen = (
        f"The prompts of {_name(case)} name no subject that the judge retrieves from at least four fifths of the base's own images. "
        f"Of {len(subjects.names)} subjects of all prompts it retrieves {len(known)}, and a comparison needs two."
    )
    return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="rate_at_most", trials=0), f"{case.title}.", seen)
