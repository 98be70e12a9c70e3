"""What a dossier says that cannot be right, found without a language model: its names, concepts, labels and languages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dmun_audit.knowledge.alias_doubts import plausible_names, shares_nothing, unfitness
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept, besides_english
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.languages import is_language, language_problem
from dmun_audit.knowledge.words.mentions import mentions
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.knowledge.words.placeholders import is_placeholder, says_only_the_medium
from dmun_audit.knowledge.words.texts import fold

_LEAST_MENTIONS = 0.2  # of a concept's prompts that hold a word of its name or label


def content_problems(dossier: Dossier) -> list[str]:
    """What makes an audit wrong: names of something else, one concept twice, placeholders, labels that say nothing."""
    return [*_wrong_names(dossier), *_same_concepts(dossier), *_placeholders(dossier), *_unknown_languages(dossier)]


def content_remarks(dossier: Dossier) -> list[str]:
    """What is likely wrong: unlikely names, prompts that do not ask for what they should, prompts in another language."""
    return [*_unlikely_names(dossier), *_repeated_labels(dossier), *_unmentioned(dossier), *_other_languages(dossier)]


def _other_names(dossier: Dossier) -> tuple[str, ...]:
    return (*dossier.target.aliases, *dossier.target.spellings)


def _wrong_names(dossier: Dossier) -> Iterator[str]:
    target = dossier.target
    everything = {identity(concept.name): concept for concept in dossier.concepts}
    others = {key: concept for key, concept in everything.items() if concept.role != "erase"}
    for alias in _other_names(dossier):
        neighbours = everything if shares_nothing(alias, (target.name,), target.kind) else others
        if why := unfitness(alias, target.name, target.kind):
            yield f"alias {alias!r} is no name of {target.name!r}: {why}"
        elif concept := neighbours.get(identity(alias)):
            yield f"alias {alias!r} is no name of {target.name!r}: {concept.name!r} is a nearby concept ({concept.relation})"


def _unlikely_names(dossier: Dossier) -> Iterator[str]:
    target = dossier.target
    for alias in target.aliases:
        if shares_nothing(alias, (target.name,), target.kind) and not unfitness(alias, target.name, target.kind):
            yield f"alias {alias!r} shares no word that tells {target.name!r} from others: is it another name for exactly the same thing?"
    if target.kind != "unsafe":
        names = plausible_names(target.name, _other_names(dossier), target.kind)
        for prompt in target.direct_prompts:
            if not names.find_close(prompt):
                yield f"direct prompt {prompt!r} holds neither {target.name!r} nor a name that shares a word with it"


def _same_concepts(dossier: Dossier) -> Iterator[str]:
    same: dict[str, list[NearbyConcept]] = defaultdict(list)
    for concept in dossier.concepts:
        same[identity(concept.name)].append(concept)
    names_of_target = names_of(dossier.names, dossier.target.kind)
    own = identity(dossier.target.name)
    for key, concepts in same.items():
        names = " and ".join(repr(concept.name) for concept in concepts)
        if key and len(concepts) > 1:
            yield f"{names} are one concept in {len(concepts)} spellings"
        if key and key == own and not any(names_of_target.is_name(concept.name) for concept in concepts):
            yield f"concept {names} is the target itself in another spelling"


def _placeholders(dossier: Dossier) -> Iterator[str]:
    labels = [("the target", dossier.target.label), *((f"concept {each.name!r}", each.label) for each in dossier.concepts)]
    for concept in dossier.concepts:
        if is_placeholder(concept.name):
            yield f"concept {concept.name!r} is a placeholder"
    for owner, label in labels:
        if is_placeholder(label):
            yield f"label {label!r} of {owner} is a placeholder"
        elif says_only_the_medium(label):
            yield f"label {label!r} of {owner} says how a picture is made, and not what it shows"
    for text, owner in dossier.prompts_with_owners():
        if is_placeholder(text):
            yield f"prompt {text!r} of {owner} is a placeholder"


def _unknown_languages(dossier: Dossier) -> Iterator[str]:
    for prompt in dossier.adversarial:
        if not is_language(prompt.language):
            yield f"adversarial prompt {prompt.text!r} has the language {prompt.language!r}, which is no code of ISO 639"


def _repeated_labels(dossier: Dossier) -> Iterator[str]:
    same: dict[str, list[str]] = defaultdict(list)
    for concept in dossier.concepts:
        if concept.role == "retain":
            same[fold(concept.label)].append(concept.name)
    for label, names in same.items():
        if len(names) > 1:
            yield f"retained concepts {', '.join(map(repr, names))} share the label {label!r}: a judge cannot tell them apart"


def _unmentioned(dossier: Dossier) -> Iterator[str]:
    for concept in dossier.concepts:
        without = [text for text in concept.prompts if not mentions(text, concept.name, concept.label)]
        if concept.role != "erase" and len(concept.prompts) - len(without) < _LEAST_MENTIONS * len(concept.prompts):
            yield f"{len(without)} of {len(concept.prompts)} prompts of {concept.name!r} do not mention it, such as {without[0]!r}"


def _other_languages(dossier: Dossier) -> Iterator[str]:
    for prompt in dossier.adversarial:
        if besides_english([prompt.language]) and is_language(prompt.language):
            problem = language_problem(prompt.text, prompt.language, dossier.names, dossier.target.kind)
            if problem:
                yield f"adversarial prompt {problem}"
