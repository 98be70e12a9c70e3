"""A dossier made of valid answers: concepts sorted, each prompt in one role, strategies in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from dmun_audit.knowledge.dossier import (
    AdversarialPrompt,
    CompositionPrompt,
    Dossier,
    NearbyConcept,
    Provenance,
    Relation,
    Target,
    World,
)
from dmun_audit.knowledge.interview.answers import Neighbour, PlainPrompt, PromptWithSkill, TargetDescription
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.provenance import SIMILARITY_TOPIC, UNKNOWN_SIMILARITY, facts_of
from dmun_audit.knowledge.interview.similarity import Similarity
from dmun_audit.knowledge.interview.similarity_questions import ordering_of
from dmun_audit.knowledge.words.texts import fold


@dataclass(frozen=True)
class InterviewAnswers:
    """The valid answers of one interview: `adversarial` by strategy, `similarity` by the name of each neighbour that has one.

    `remarks` are whole sentences on what was dropped or replaced; they stand in the dossier's history.
    """

    description: TargetDescription
    direct: Sequence[PlainPrompt]
    neighbours: Sequence[tuple[Relation, Neighbour]]
    compositions: Sequence[PromptWithSkill]
    adversarial: Mapping[str, Sequence[PlainPrompt]]
    similarity: Mapping[str, Similarity]
    remarks: tuple[str, ...] = ()


class _UsedPrompts:
    """The prompts in the dossier so far: a prompt in two roles stays in the first."""

    def __init__(self) -> None:
        self._folded: set[str] = set()

    def add(self, text: str) -> bool:
        """Add a prompt; False if it is there already."""
        if fold(text) in self._folded:
            return False
        self._folded.add(fold(text))
        return True


def assemble(target: str, world: World, panel: Panel, answers: InterviewAnswers) -> Dossier:
    """The dossier of the answers. Roles fill in this order: target, concepts by similarity, compositions, adversarial prompts.

    Its provenance is that of the first language model of the panel.
    """
    used = _UsedPrompts()
    facts = facts_of(panel.interviewers[0])
    subject = _target(target, answers, used)
    concepts = tuple(_concepts(answers, used))
    model, named = panel.model_of(SIMILARITY_TOPIC), {concept.name for concept in concepts}
    return Dossier(
        format=1,
        world=world,
        target=subject,
        anchors=() if subject.kind == "object" else ("a photo",),
        concepts=concepts,
        compositions=tuple(
            CompositionPrompt(text=item.prompt, skill=item.skill) for item in answers.compositions if used.add(item.prompt)
        ),
        adversarial=tuple(_adversarial(answers.adversarial, used)),
        orderings=(ordering_of(model, answers.similarity, named),) if answers.similarity else (),
        provenance=Provenance(**facts, history=answers.remarks),
    )


def _target(name: str, answers: InterviewAnswers, used: _UsedPrompts) -> Target:
    description = answers.description
    return Target(
        name=name,
        kind=description.kind,
        aliases=description.aliases,
        spellings=description.spellings,
        label=description.label,
        direct_prompts=tuple(item.prompt for item in answers.direct if used.add(item.prompt)),
    )


def _concepts(answers: InterviewAnswers, used: _UsedPrompts) -> Iterator[NearbyConcept]:
    """The concepts, the most similar first. Those without a similarity come last and have the mean of the others."""
    by_name = {concept.name: (relation, concept) for relation, concept in answers.neighbours}
    for name in [*answers.similarity, *(name for name in by_name if name not in answers.similarity)]:
        relation, concept = by_name[name]
        prompts = tuple(text for text in concept.prompts if used.add(text))
        if prompts:
            facts = concept.model_dump(exclude={"prompts"})
            assessed = answers.similarity.get(name)
            value = assessed.value if assessed else mean_similarity(answers.similarity)
            spread = round(assessed.spread, 4) if assessed else None
            yield NearbyConcept(**facts, relation=relation, similarity=round(value, 4), spread=spread, prompts=prompts)


def mean_similarity(similarity: Mapping[str, Similarity]) -> float:
    """The similarity of a concept that was not assessed: the mean of the others, UNKNOWN_SIMILARITY if there is none."""
    return sum(each.value for each in similarity.values()) / len(similarity) if similarity else UNKNOWN_SIMILARITY


def _adversarial(by_strategy: Mapping[str, Sequence[PlainPrompt]], used: _UsedPrompts) -> Iterator[AdversarialPrompt]:
    """Adversarial prompts, one of each strategy in turn, so that the first few are of many strategies."""
    columns = ([(strategy, item) for item in items] for strategy, items in by_strategy.items())
    for strategy, item in filter(None, chain.from_iterable(zip_longest(*columns))):
        if used.add(item.prompt):
            yield AdversarialPrompt(text=item.prompt, strategy=strategy, language=getattr(item, "language", "en"))
