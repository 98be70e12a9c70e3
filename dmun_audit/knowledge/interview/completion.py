"""Completes a dossier that exists: only what it lacks is asked for, and what it has stays as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import (
    AdversarialPrompt,
    CompositionPrompt,
    Dossier,
    NearbyConcept,
    Ordering,
    Relation,
)
from dmun_audit.knowledge.interview.answers import Neighbour
from dmun_audit.knowledge.interview.interview import NEIGHBOURS_SHOWN, InterviewTask
from dmun_audit.knowledge.interview.interviewer import ItemRequest
from dmun_audit.knowledge.interview.neighbours import Neighbours
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.provenance import SIMILARITY_TOPIC, UNKNOWN_SIMILARITY, finished, similarity_sentences
from dmun_audit.knowledge.interview.questions import (
    RELATIONS,
    adversarial_request,
    composition_request,
    direct_request,
    neighbour_request,
)
from dmun_audit.knowledge.interview.similarity import Similarity
from dmun_audit.knowledge.interview.similarity_questions import assess_similarity, ordering_of
from dmun_audit.knowledge.interview.validation import AnswerValidator
from dmun_audit.knowledge.parts import (
    COMPOSITION_TOPIC,
    DIRECT_TOPIC,
    concepts_topic,
    missing_parts,
    strategy_topic,
)
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.words.texts import fold

ORDERED_BY = "language model"


@dataclass(frozen=True)
class Start:
    """The dossier that an interview starts from, and its name for the history."""

    dossier: Dossier
    name: str


def completed(task: InterviewTask, start: Start, panel: Panel) -> Dossier:
    """The dossier of `start` with what it lacked, as far as the language models can give it. Everything in it stays as it is.

    It lacks the parts of which it has too few, and an ordering by a language model. A new concept's similarity is put on the
    scale of the concepts that were there. Raises UsageError if nothing is lacking.
    """
    old = start.dossier
    lacking = {part.topic for part in missing_parts(old)}
    unordered = not any(ordering.source == ORDERED_BY for ordering in old.orderings)
    if not lacking and not unordered:
        raise UsageError(f"{start.name} lacks nothing", "there is nothing to ask for", "use it as it is")
    values: dict[str, Any] = {"target": old.target.name, "kind": old.target.kind, "aliases": old.target.aliases}
    direct, neighbours = _direct_prompts_and_neighbours(task, old, panel, values, lacking)
    new_concepts = [concept for _, concept in neighbours]
    names = [concept.name for concept in old.nearest({"retain", "erase", "observe"}, len(old.concepts))]
    names += [concept.name for concept in new_concepts]
    used = [*(text for text, _ in old.prompts_with_owners()), *direct]
    used += [text for concept in new_concepts for text in concept.prompts]
    values |= {"neighbours": names[:NEIGHBOURS_SHOWN]}
    validator = _validator(task, old, used)
    requests = _prompt_requests(old, validator, values, lacking)
    lists = dict(zip([request.topic for request in requests], panel.collect(requests), strict=True))
    similarity: Mapping[str, Similarity] = {}
    said: dict[str, str] = {}
    if unordered or neighbours:
        similarity = assess_similarity(panel, values, names, task.repeats, optional=True)
        said = similarity_sentences(similarity, names, panel)
    new = _new_prompts(lists, used)
    message = f"the answers of {panel.model!r} do not complete {start.name}"
    with as_usage_error(message, "look at the answers in the transcripts"):
        dossier = Dossier.model_validate(
            old.model_copy(
                update={
                    "target": old.target.model_copy(update={"direct_prompts": (*old.target.direct_prompts, *direct)}),
                    "concepts": (*old.concepts, *_on_the_scale_of(old, neighbours, similarity)),
                    "compositions": (*old.compositions, *new[0]),
                    "adversarial": (*old.adversarial, *new[1]),
                    "orderings": (*old.orderings, *_ordering(panel, similarity, names, unordered)),
                    "provenance": old.provenance.model_copy(update={"history": (*old.provenance.history, _sentence(start))}),
                }
            ).model_dump()
        )
        return finished(dossier, panel, said, old)


def _sentence(start: Start) -> str:
    return (
        f"Started from {start.name} (digest {start.dossier.digest()[:12]}): everything in it stays as it was, and only what it lacked "
        "was asked for."
    )


def _validator(task: InterviewTask, old: Dossier, used: Iterable[str]) -> AnswerValidator:
    target = old.target
    return AnswerValidator(old.names, target.kind, target.label, task.counter, frozenset(map(fold, used)))


def _direct_prompts_and_neighbours(
    task: InterviewTask, old: Dossier, panel: Panel, values: dict[str, Any], lacking: set[str]
) -> tuple[list[str], list[tuple[Relation, Neighbour]]]:
    """New direct prompts, and new concepts with their relation, as far as they are lacking."""
    validator = _validator(task, old, [text for text, _ in old.prompts_with_owners()])
    neighbours = Neighbours((text for text, _ in old.prompts_with_owners()), validator.dropped, old)
    questions = [question for question in RELATIONS if concepts_topic(question.relation) in lacking]
    requests: list[ItemRequest[Any]] = [
        neighbour_request(validator, values, question, neighbours.known) for question in questions
    ]
    if DIRECT_TOPIC in lacking:
        requests.append(direct_request(validator, values))
    lists = panel.collect(requests) if requests else []
    there = set(validator.used)
    direct = [item.prompt for item in lists[-1] if fold(item.prompt) not in there] if DIRECT_TOPIC in lacking else []
    for question, concepts in zip(questions, lists, strict=False):
        neighbours.add(question.relation, concepts)
    neighbours.relabel(panel, validator, values)
    neighbours.top_up(panel, validator, values)
    return direct, list(neighbours.by_name.values())


def _prompt_requests(
    old: Dossier, validator: AnswerValidator, values: dict[str, Any], lacking: set[str]
) -> list[ItemRequest[Any]]:
    """The requests for compositions and adversarial prompts that are lacking.

    If there are too few adversarial prompts in all, every strategy with fewer than half of its number is asked for.
    """
    requests: list[ItemRequest[Any]] = [composition_request(validator, values)] if COMPOSITION_TOPIC in lacking else []
    counts = Counter(prompt.strategy for prompt in old.adversarial)
    too_few = len(old.adversarial) < check.ADVERSARIAL // 2
    for strategy, wanted in check.STRATEGIES.items():
        if strategy_topic(strategy) in lacking or (too_few and 2 * counts[strategy] < wanted):
            languages = max(1, check.LANGUAGES - len(old.languages))
            requests.append(adversarial_request(validator, values, strategy, languages))
    return requests


def _new_prompts(
    lists: Mapping[str, Sequence[Any]], used: Iterable[str]
) -> tuple[list[CompositionPrompt], list[AdversarialPrompt]]:
    """The new compositions and adversarial prompts; a prompt that has a role already is left out."""
    known = set(map(fold, used))
    compositions, adversarial = [], []
    for topic, items in lists.items():
        strategy = next((strategy for strategy in check.STRATEGIES if strategy_topic(strategy) == topic), None)
        for item in items:
            if fold(item.prompt) in known:
                continue
            known.add(fold(item.prompt))
            if strategy is None:
                compositions.append(CompositionPrompt(text=item.prompt, skill=item.skill))
            else:
                language = getattr(item, "language", "en")
                adversarial.append(AdversarialPrompt(text=item.prompt, strategy=strategy, language=language))
    return compositions, adversarial


def _ordering(panel: Panel, similarity: Mapping[str, Similarity], names: Sequence[str], unordered: bool) -> list[Ordering]:
    if not (unordered and similarity):
        return []
    return [ordering_of(panel.model_of(SIMILARITY_TOPIC), similarity, names)]


def _on_the_scale_of(
    old: Dossier, neighbours: Sequence[tuple[Relation, Neighbour]], similarity: Mapping[str, Similarity]
) -> list[NearbyConcept]:
    """The new concepts, each with its similarity on the scale of the old ones (quantile matching of those that have both)."""
    both = [(similarity[concept.name].value, concept.similarity) for concept in old.concepts if concept.name in similarity]
    asked, scale = sorted(pair[0] for pair in both), sorted(pair[1] for pair in both)
    fallback = float(np.mean([concept.similarity for concept in old.concepts])) if old.concepts else UNKNOWN_SIMILARITY
    concepts = []
    for relation, concept in neighbours:
        assessed = similarity.get(concept.name)
        value = fallback if assessed is None else float(np.interp(assessed.value, asked, scale)) if both else assessed.value
        spread = None if assessed is None else round(assessed.spread, 4)
        facts = concept.model_dump()
        concepts.append(NearbyConcept(**facts, relation=relation, similarity=round(value, 4), spread=spread))
    return concepts
