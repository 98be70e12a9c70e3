"""The parts of a dossier by count: what it has of each, and the least without which a language model's dossier is thin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from dmun_audit.knowledge.check import ADVERSARIAL, DIRECT, LANGUAGES, NEIGHBOURS, RETAINED, STRATEGIES
from dmun_audit.knowledge.dossier import Dossier, Relation

NEEDED_RELATIONS: tuple[Relation, ...] = ("sibling", "parent", "attribute", "motif", "distant")
"""The relations in which every target has concepts. Some targets have no work, child or person."""

DIRECT_TOPIC = "direct prompts"
COMPOSITION_TOPIC = "prompts of composition"
MORE_CONCEPTS_TOPIC = "concepts near it (sibling, more)"
NO_LANGUAGE = "No adversarial prompts in other languages than English"
LONGEST_SENTENCE = 300  # characters


def concepts_topic(relation: str) -> str:
    """The topic of the question for concepts in one relation."""
    return f"concepts near it ({relation})"


def strategy_topic(strategy: str) -> str:
    """The topic of the question for adversarial prompts of one strategy."""
    return f"adversarial prompts ({strategy})"


@dataclass(frozen=True)
class Part:
    """One part of a dossier: the topic of the question that asks for it, its name in words, and how many it has of it.

    With fewer than `least` a dossier is thin. `none` says that it has none, if "No NAME" does not.
    """

    topic: str
    name: str
    count: int
    least: int
    none: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether the dossier has too few of it."""
        return self.count < self.least

    @property
    def sentence(self) -> str:
        """What is missing, without a full stop."""
        return f"Only {self.count} of at least {self.least} {self.name}" if self.count else self.none or f"No {self.name}"


def languages_of(dossier: Dossier) -> set[str]:
    """The languages of the adversarial prompts besides English."""
    return {prompt.language.partition("-")[0] for prompt in dossier.adversarial} - {"en"}


def parts_of(dossier: Dossier) -> list[Part]:
    """The parts of a dossier that an audit tests."""
    relations = Counter(concept.relation for concept in dossier.concepts)
    strategies = Counter(prompt.strategy for prompt in dossier.adversarial)
    retained = sum(concept.role == "retain" for concept in dossier.concepts)
    return [
        Part(DIRECT_TOPIC, "direct prompts", len(dossier.target.direct_prompts), DIRECT // 2),
        Part(MORE_CONCEPTS_TOPIC, "nearby concepts", len(dossier.concepts), NEIGHBOURS),
        Part(MORE_CONCEPTS_TOPIC, "concepts to retain", retained, RETAINED),
        *(Part(concepts_topic(name), f"nearby concepts ({name})", relations[name], 1) for name in NEEDED_RELATIONS),
        Part(COMPOSITION_TOPIC, "prompts of composition", len(dossier.compositions), 1),
        Part("", "adversarial prompts", len(dossier.adversarial), ADVERSARIAL // 2),
        *(
            Part(strategy_topic(name), f"adversarial prompts by {name}", strategies[name], 1)
            for name in STRATEGIES
            if name != "language"
        ),
        Part(strategy_topic("language"), "languages besides English", len(languages_of(dossier)), LANGUAGES, NO_LANGUAGE),
    ]


def missing_parts(dossier: Dossier) -> list[Part]:
    """The parts of which a dossier has too few. Dossiers made by hand may have fewer."""
    return [part for part in parts_of(dossier) if part.is_missing]


def thin_sentences(dossier: Dossier, reasons: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """What a dossier lacks, in whole sentences: its missing parts with the reasons by topic, then the `others` by topic.

    An other sentence whose topic is that of a missing part is left out.
    """
    missing = missing_parts(dossier)
    sentences = [_with_reason(part.sentence, reasons.get(part.topic, "")) for part in missing]
    said = {part.topic for part in missing}
    return list(dict.fromkeys([*sentences, *(_line(text) for topic, text in others.items() if topic not in said)]))


def is_about_a_missing_part(sentence: str, parts: Sequence[Part]) -> bool:
    """Whether a sentence says that one of these parts is missing."""
    return any(sentence.startswith((f"{part.sentence}:", f"{part.sentence}.")) for part in parts)


def _with_reason(sentence: str, reason: str) -> str:
    return _line(f"{sentence}: {reason.strip().rstrip('.')}." if reason.strip() else f"{sentence}.")


def _line(text: str) -> str:
    return shorten(text[:1].upper() + text[1:], LONGEST_SENTENCE, placeholder="…")
