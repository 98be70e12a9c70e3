"""A dossier made of answers that hold: sorted, each prompt in one role, strategies taking turns."""

from __future__ import annotations

from collections.abc import Sequence
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
from dmun_audit.knowledge.interview import templates
from dmun_audit.knowledge.interview.answers import AboutTarget, Composed, Neighbour, Plain
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.similarity import Similarity
from dmun_audit.knowledge.interview.similarity_questions import ordering_of
from dmun_audit.knowledge.texts import fold


def assemble(
    target: str,
    world: World,
    interviewer: Interviewer,
    about: AboutTarget,
    direct: Sequence[Plain],
    neighbours: Sequence[tuple[Relation, Neighbour]],
    compositions: Sequence[Composed],
    adversarial: dict[str, list[Plain]],
    similarity: dict[str, Similarity],
) -> Dossier:
    """The dossier. Whatever stands in two roles stays in the first: target, concepts by similarity, compositions, adversarial."""
    taken: set[str] = set()

    def fresh(text: str) -> bool:
        if fold(text) in taken:
            return False
        taken.add(fold(text))
        return True

    subject = Target(
        name=target,
        kind=about.kind,
        aliases=about.aliases,
        spellings=about.spellings,
        label=about.label,
        direct_prompts=tuple(item.prompt for item in direct if fresh(item.prompt)),
    )
    by_name = {concept.name: (relation, concept) for relation, concept in neighbours}
    concepts = []
    for name, assessed in similarity.items():
        relation, concept = by_name[name]
        prompts = tuple(text for text in concept.prompts if fresh(text))
        if prompts:
            facts = concept.model_dump(exclude={"prompts"})
            value, spread = round(assessed.value, 4), round(assessed.spread, 4)
            concepts.append(NearbyConcept(**facts, relation=relation, similarity=value, spread=spread, prompts=prompts))
    composed = [CompositionPrompt(text=item.prompt, skill=item.skill) for item in compositions if fresh(item.prompt)]
    turns = ([(strategy, item) for item in items] for strategy, items in adversarial.items())
    prompts_ = [
        AdversarialPrompt(text=item.prompt, strategy=strategy, language=getattr(item, "language", "en"))
        for strategy, item in filter(None, chain.from_iterable(zip_longest(*turns)))
        if fresh(item.prompt)
    ]
    facts = interviewer.transcript.facts()
    kept = {concept.name for concept in concepts}
    return Dossier(
        format=1,
        world=world,
        target=subject,
        anchors=() if about.kind == "object" else ("a photo",),
        concepts=tuple(concepts),
        compositions=tuple(composed),
        adversarial=tuple(prompts_),
        orderings=(ordering_of(facts["model"], similarity, kept),),
        provenance=Provenance(
            **facts,
            templates={name: templates.version(name) for name in sorted(interviewer.used)},
            temperature=interviewer.temperature,
            seed=interviewer.seed,
        ),
    )
