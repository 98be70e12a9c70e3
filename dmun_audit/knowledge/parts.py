"""The parts of a dossier by count: what it has of each, and the least without which a language model's dossier is thin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from dmun_audit.knowledge.check import ADVERSARIAL, DIRECT, LANGUAGES, NEIGHBOURS, RETAINED, STRATEGIES
from dmun_audit.knowledge.dossier import Dossier, Relation
from dmun_audit.knowledge.thin_sentences import NO_LANGUAGE, by_weight, named_in, together

NEEDED_RELATIONS: tuple[Relation, ...] = ("sibling", "parent", "attribute", "motif", "distant")
"""The relations in which every target has concepts. Some targets have no work, child or person."""

DIRECT_TOPIC = "direct prompts"
COMPOSITION_TOPIC = "prompts of composition"
MORE_CONCEPTS_TOPIC = "concepts near it (sibling, more)"
STRATEGY_TOPIC = "adversarial prompts ("
NO_STRATEGIES = "No adversarial prompts by {}"
NO_RELATIONS = "No nearby concepts ({})"
LONGEST_SENTENCE = 300  # characters


def concepts_topic(relation: str) -> str:
    """The topic of the question for concepts in one relation."""
    return f"concepts near it ({relation})"


def strategy_topic(strategy: str) -> str:
    """The topic of the question for adversarial prompts of one strategy."""
    return f"{STRATEGY_TOPIC}{strategy})"


@dataclass(frozen=True)
class Part:
    """One part of a dossier: the topic of the question that asks for it, its name in words, and how many it has of it.

    With fewer than `least` a dossier is thin. `none` says that it has none, if "No NAME" does not. `group` is the sentence, with a
    place for names, that says this of several parts; `member` is the part's name there.
    """

    topic: str
    name: str
    count: int
    least: int
    none: str = ""
    group: str = ""
    member: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether the dossier has too few of it."""
        return self.count < self.least

    @property
    def sentence(self) -> str:
        """What is missing, without a full stop."""
        return f"Only {self.count} of at least {self.least} {self.name}" if self.count else self.none or f"No {self.name}"


def parts_of(dossier: Dossier) -> list[Part]:
    """The parts of a dossier that an audit tests."""
    relations = Counter(concept.relation for concept in dossier.concepts)
    strategies = Counter(prompt.strategy for prompt in dossier.adversarial)
    retained = sum(concept.role == "retain" for concept in dossier.concepts)
    return [
        Part(DIRECT_TOPIC, "direct prompts", len(dossier.target.direct_prompts), DIRECT // 2),
        Part(MORE_CONCEPTS_TOPIC, "nearby concepts", len(dossier.concepts), NEIGHBOURS),
        Part(MORE_CONCEPTS_TOPIC, "concepts to retain", retained, RETAINED),
        *(
            Part(concepts_topic(name), f"nearby concepts ({name})", relations[name], 1, "", NO_RELATIONS, name)
            for name in NEEDED_RELATIONS
        ),
        Part(COMPOSITION_TOPIC, "prompts of composition", len(dossier.compositions), 1),
        Part("", "adversarial prompts", len(dossier.adversarial), ADVERSARIAL // 2),
        *(
            Part(strategy_topic(name), f"adversarial prompts by {name}", strategies[name], 1, "", NO_STRATEGIES, name)
            for name in STRATEGIES
            if name != "language"
        ),
        Part(strategy_topic("language"), "languages besides English", len(dossier.languages), LANGUAGES, NO_LANGUAGE),
    ]


def missing_parts(dossier: Dossier) -> list[Part]:
    """The parts of which a dossier has too few. Dossiers made by hand may have fewer."""
    return [part for part in parts_of(dossier) if part.is_missing]


def missing_sentences(dossier: Dossier) -> list[str]:
    """What is missing in a dossier, without reasons and full stops; strategies and relations stand together."""
    return by_weight(_together(missing_parts(dossier)))


def thin_sentences(dossier: Dossier, reasons: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """What a dossier lacks, in whole sentences: its missing parts with the reasons by topic, and the `others` by topic.

    Strategies that lack for one reason stand in one sentence, and so do relations. What an audit misses most comes first. An other
    sentence whose topic is that of a missing part is left out.
    """
    missing = missing_parts(dossier)
    by_reason: dict[str, list[Part]] = {}
    for part in missing:
        by_reason.setdefault(_reason(part, missing, reasons), []).append(part)
    sentences = [_line(f"{text}: {why}.") for why, parts in by_reason.items() for text in _together(parts)]
    said = {part.topic for part in missing}
    return by_weight([*sentences, *(_line(text) for topic, text in others.items() if text and topic not in said)])


def is_about_a_missing_part(sentence: str, parts: Sequence[Part]) -> bool:
    """Whether a sentence says that one of these parts is missing, or some strategies or relations."""
    begins = (part.sentence for part in parts)
    return bool(named_in([sentence])) or any(sentence.startswith((f"{begin}:", f"{begin}.")) for begin in begins)


def _together(parts: Iterable[Part]) -> list[str]:
    """What is missing of the parts; those of one group, of which there is nothing, in one sentence."""
    groups: dict[str, list[str]] = {}
    for part in parts:
        names = groups.setdefault(part.group or part.sentence, [])
        names += [part.member] if part.group else []
    return [text.format(together(names)) if names else text for text, names in groups.items()]


def _reason(part: Part, missing: Sequence[Part], reasons: Mapping[str, str]) -> str:
    """Why a part is missing. All adversarial prompts are missing for the reasons of their strategies."""
    topics = [part.topic] if part.topic else [each.topic for each in missing if each.topic.startswith(STRATEGY_TOPIC)]
    found = dict.fromkeys(reasons[topic].strip().rstrip(".") for topic in topics if reasons.get(topic, "").strip())
    return ", or ".join(found) or ("the model gave no more that are valid" if part.count else "the model gave none that is valid")


def _line(text: str) -> str:
    return shorten(text[:1].upper() + text[1:], LONGEST_SENTENCE, placeholder="…")
