"""What a dossier is worth, from 0 to 100, by checks that need no model: does it have enough of each part, and is that sound?"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz import fuzz

from dmun_audit._util.terminal import display_width
from dmun_audit.knowledge.check import ADVERSARIAL, COMPOSITIONS, DIRECT, LANGUAGES, NEIGHBOURS, STRATEGIES
from dmun_audit.knowledge.dossier import NAMELESS, AdversarialPrompt, Dossier, NearbyConcept, besides_english
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.words.languages import language_problem
from dmun_audit.knowledge.words.mentions import mentions
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.knowledge.words.texts import fold, skeleton

Item = TypeVar("Item")
DIRECT_PART, CONCEPTS_PART, ADVERSARIAL_PART = "direct prompts", "nearby concepts", "adversarial prompts"
COMPOSITION_PART = "prompts of composition"
DIFFERENT_SIMILARITIES = NEIGHBOURS // 2
PROMPTS_PER_CONCEPT = 2
MOST_EXAMINED = 500  # texts of one part
NEARLY_EQUAL = 95.0  # per cent, by sorted words: such prompts draw the same picture
LEAST_COLUMNS, MOST_WORDS = 8, 60  # of a prompt; a letter of Chinese or Japanese takes two columns
SPELLED_ALIKE = frozenset({"misspelling", "homoglyph"})  # their prompts differ by single letters


@dataclass(frozen=True)
class ScoredPart:
    """One part of a dossier: how many it has, how many of them are sound, how many are wanted, and its weight in points."""

    name: str
    there: int
    sound: int
    wanted: int
    weight: int

    @property
    def points(self) -> float:
        """The part's points: its weight times the share of what is wanted that is there and sound."""
        return self.weight * min(1.0, self.sound / self.wanted)


@dataclass(frozen=True)
class ShortStrategy:
    """A strategy with fewer `sound` prompts than the `needed` half of what a good dossier has of it."""

    name: str
    sound: int
    needed: int


@dataclass(frozen=True)
class Score:
    """The parts of a dossier with their points, how many texts of which part have which fault, and the strategies that fall short."""

    parts: tuple[ScoredPart, ...]
    faults: Mapping[str, Mapping[str, int]]
    short_strategies: tuple[ShortStrategy, ...]

    @property
    def total(self) -> int:
        """The sum of all points, rounded down, from 0 to 100: only a dossier without any lack has 100."""
        return int(sum(part.points for part in self.parts) + 1e-9)

    def lines(self) -> list[str]:
        """The score as a table for a terminal."""
        rows = [("part", "there", "counted", "wanted", "points")]
        rows += [
            (part.name, str(part.there), str(part.sound), str(part.wanted), f"{part.points:.0f} of {part.weight}")
            for part in self.parts
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        faults = [f"not counted in {part}: {_in_a_line(counts)}" for part, counts in self.faults.items()]
        short = ", ".join(f"{each.name} ({each.sound} of at least {each.needed} prompts)" for each in self.short_strategies)
        return [*table, *faults, *([f"not counted in strategies: {short}"] if short else []), f"score: {self.total} of 100"]


def score(dossier: Dossier, counter: TokenCounter | None = None) -> Score:
    """The score of a dossier. `counter` is the tokenizer whose limit prompts must keep to; None leaves that out.

    A prompt is sound if it is no near-duplicate of another in its part, has a usable length, and mentions what it must: a direct
    prompt the target, a concept's prompt its concept unless that should go with the target. A nameless prompt must not name the
    target, a foreign one must be in its language. A concept is sound with two sound prompts and a name and a label of its own.
    """
    faults: dict[str, Counter[str]] = defaultdict(Counter)
    length = _length_fault(counter)
    names = names_of(dossier.names, dossier.target.kind)
    direct = _sound(
        dossier.target.direct_prompts,
        str,
        lambda text: length(text) or ("" if names.find_exact(text) else "prompts without the target's name"),
        faults[DIRECT_PART],
    )
    concepts = _sound_concepts(dossier.concepts, length, faults[CONCEPTS_PART])
    by_strategy = {
        strategy: _sound(
            [prompt for prompt in dossier.adversarial if prompt.strategy == strategy],
            lambda prompt: prompt.text,
            lambda prompt: length(prompt.text) or _fault_of(prompt, dossier, bool(names.find_close(prompt.text))),
            faults[ADVERSARIAL_PART],
            alike=strategy in SPELLED_ALIKE,
        )
        for strategy in STRATEGIES
    }
    compositions = _sound(
        dossier.compositions,
        lambda prompt: prompt.text,
        lambda prompt: length(prompt.text) or ("nameless prompts that name the target" if names.find_close(prompt.text) else ""),
        faults[COMPOSITION_PART],
    )
    languages = besides_english(prompt.language for prompts in by_strategy.values() for prompt in prompts)
    short = [
        ShortStrategy(strategy, len(by_strategy[strategy]), needed)
        for strategy, count in STRATEGIES.items()
        if len(by_strategy[strategy]) < (needed := -(-count // 2))
    ]
    similarities = len({concept.similarity for concept in concepts}), len({concept.similarity for concept in dossier.concepts})
    adversarial = [
        ScoredPart(
            ADVERSARIAL_PART,
            len(dossier.adversarial),
            sum(min(len(prompts), STRATEGIES[strategy]) for strategy, prompts in by_strategy.items()),
            ADVERSARIAL,
            15,
        ),
        ScoredPart(
            "strategies",
            len({prompt.strategy for prompt in dossier.adversarial} & STRATEGIES.keys()),
            len(STRATEGIES) - len(short),
            len(STRATEGIES),
            15,
        ),
    ]
    parts = (
        ScoredPart(DIRECT_PART, len(dossier.target.direct_prompts), len(direct), DIRECT, 15),
        ScoredPart(CONCEPTS_PART, len(dossier.concepts), len(concepts), NEIGHBOURS, 25),
        ScoredPart("different similarities", similarities[1], similarities[0], DIFFERENT_SIMILARITIES, 10),
        *adversarial,
        ScoredPart("languages besides English", len(dossier.languages), len(languages), LANGUAGES, 10),
        ScoredPart(COMPOSITION_PART, len(dossier.compositions), len(compositions), COMPOSITIONS, 10),
    )
    return Score(parts, {part.name: faults[part.name] for part in parts if faults[part.name]}, tuple(short))


def _in_a_line(counts: Mapping[str, int]) -> str:
    """Faults with their counts, the most frequent first."""
    return ", ".join(f"{what} ({count})" for what, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _sound(
    items: Sequence[Item], text: Callable[[Item], str], fault: Callable[[Item], str], faults: Counter[str], alike: bool = False
) -> list[Item]:
    """The items without a fault that are no near-duplicates of one before. Counts the faults of the others.

    Only the first MOST_EXAMINED are looked at, so that a hostile dossier is scored in bounded time.
    """
    sound: list[Item] = []
    sorted_words: list[str] = []
    for item in items[:MOST_EXAMINED]:
        words = " ".join(sorted(skeleton(text(item))))
        near = not alike and any(fuzz.ratio(words, other) >= NEARLY_EQUAL for other in sorted_words)
        found = fault(item) or ("near-duplicates" if near else "")
        if found:
            faults[found] += 1
        else:
            sound.append(item)
            sorted_words.append(words)
    return sound


def _sound_concepts(concepts: Sequence[NearbyConcept], length: Callable[[str], str], faults: Counter[str]) -> list[NearbyConcept]:
    labels = Counter(fold(concept.label) for concept in concepts if concept.role == "retain")

    def fault(concept: NearbyConcept) -> str:
        if concept.role == "retain" and labels[fold(concept.label)] > 1:
            return "concepts with another's label"
        unmentioned = "prompts that do not mention their concept"
        described = concept.role == "erase"  # the target itself, which a prompt may describe
        prompts = _sound(
            concept.prompts,
            str,
            lambda text: length(text) or ("" if described or mentions(text, concept.name, concept.label) else unmentioned),
            faults,
        )
        return "" if len(prompts) >= PROMPTS_PER_CONCEPT else "concepts with fewer than two sound prompts"

    return _sound(concepts, lambda concept: concept.name, fault, faults)


def _fault_of(prompt: AdversarialPrompt, dossier: Dossier, names_target: bool) -> str:
    if prompt.strategy in NAMELESS and names_target:
        return "nameless prompts that name the target"
    if prompt.strategy == "language" and language_problem(prompt.text, prompt.language, dossier.names, dossier.target.kind):
        return "prompts that are not in their language"
    return ""


def _length_fault(counter: TokenCounter | None) -> Callable[[str], str]:
    def fault(text: str) -> str:
        if display_width(text) < LEAST_COLUMNS:
            return "prompts that are too short"
        too_long = len(re.findall(r"\w+", text)) > MOST_WORDS or (counter is not None and counter.too_long(text))
        return "prompts that are too long" if too_long else ""

    return fault
