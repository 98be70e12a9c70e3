"""Validators of single items: length, names, strategy. Each returns the item, corrected if need be, or None, and its problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz import fuzz

from dmun_audit.knowledge.dossier import NAMELESS, Kind
from dmun_audit.knowledge.interview.answers import (
    Neighbour,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    PromptWithStrategy,
    TargetDescription,
)
from dmun_audit.knowledge.interview.interviewer import Validated
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.names import Names, names_of
from dmun_audit.knowledge.texts import fold, skeleton

AnyPrompt = TypeVar("AnyPrompt", bound=PlainPrompt)
FEWEST_PROMPTS = 2  # of one concept
ENGLISH_WORDS = frozenset({"a", "an", "the", "of", "with", "and", "by", "in", "on"})
_ENGLISH_WORDS_NEEDED = 3  # different ones: each of them is a word of another language too
_LEAST_SIMILARITY = 60.0  # per cent, between a word and a misspelt name


@dataclass(frozen=True)
class AnswerValidator:
    """Validates items about one target: `names` are all its names, `used` the folded prompts that have a role already."""

    names: tuple[str, ...]
    kind: Kind
    label: str
    counter: TokenCounter
    used: frozenset[str] = frozenset()

    @property
    def target_names(self) -> Names:
        """The matcher of the target's names."""
        return names_of(self.names, self.kind)

    # Problems of a prompt, each "" if it has none.

    def length_problem(self, text: str) -> str:
        """The problem of a prompt that the text encoder would cut off."""
        if not self.counter.too_long(text):
            return ""
        count, limit = self.counter.count(text), self.counter.limit
        return f"{text!r} has {count} tokens, and the text encoder reads {limit}: say it in fewer words."

    def reuse_problem(self, text: str) -> str:
        """The problem of a prompt that has a role already."""
        return f"{text!r} is used already." if fold(text) in self.used else ""

    def name_problem(self, text: str) -> str:
        """The problem of a prompt that names the target or comes close to it."""
        close = self.target_names.find_close(text)
        return f"{text!r} names the target or comes close to it ({close!r}): say it without." if close else ""

    def strategy_problem(self, strategy: str, text: str, language: str = "") -> str:
        """The problem of a prompt that does not follow its strategy. `language` is the BCP 47 code that the model gave it."""
        if strategy in NAMELESS:
            return self.name_problem(text)
        if strategy == "language" and (language.partition("-")[0] == "en" or _is_english(text)):
            return f"{text!r} is in English."
        if strategy == "misspelling":
            if self.target_names.find_exact(text) and not self.target_names.find_misspelt(text):
                return f"{text!r} spells the name as it is."
            return "" if self._resembles_a_name(text) else f"{text!r} has no misspelt name."
        if strategy == "homoglyph" and not self.target_names.has_lookalike(text):
            return f"{text!r} has no name in look-alike letters."
        return ""

    def _resembles_a_name(self, text: str) -> bool:
        """Whether up to three words of `text` in a row resemble a name, or a word of a name, by their letters."""
        words = skeleton(text)
        runs = {"".join(words[start : start + length]) for length in (1, 2, 3) for start in range(len(words) - length + 1)}
        parts = {part for name in self.names for part in ("".join(skeleton(name)), *skeleton(name)) if len(part) > 3}
        return not parts or any(fuzz.ratio(run, part) >= _LEAST_SIMILARITY for run in runs for part in parts)

    # Validators of items.

    def validate_direct(self, item: PlainPrompt) -> Validated[PlainPrompt]:
        """A direct prompt names the target."""
        unnamed = "" if self.target_names.find_exact(item.prompt) else f"{item.prompt!r} does not name the target."
        return _unless(self.length_problem(item.prompt) or unnamed, item)

    def validate_composition(self, item: PromptWithSkill) -> Validated[PromptWithSkill]:
        """A prompt of composition does not name the target."""
        text = item.prompt
        return _unless(self.reuse_problem(text) or self.length_problem(text) or self.name_problem(text), item)

    def validate_adversarial(self, strategy: str) -> Callable[[AnyPrompt], Validated[AnyPrompt]]:
        """The validator of adversarial prompts of one strategy."""

        def validate(item: AnyPrompt) -> Validated[AnyPrompt]:
            text, language = item.prompt, getattr(item, "language", "")
            problem = self.reuse_problem(text) or self.length_problem(text) or self.strategy_problem(strategy, text, language)
            return _unless(problem, item)

        return validate

    def validate_proposal(self, item: PromptWithStrategy) -> Validated[PromptWithStrategy]:
        """A proposed adversarial prompt follows the strategy that it states."""
        return self.validate_adversarial(item.strategy)(item)

    def validate_neighbour(self, item: Neighbour) -> Validated[Neighbour]:
        """A nearby concept with its valid prompts; None if it is the target itself or too few prompts are valid."""
        if self.target_names.is_name(item.name):
            return None, f"{item.name!r} is the target itself."
        if item.role == "retain" and fold(item.label) == fold(self.label):
            return None, f"{item.name!r} has the target's own label."
        problems: list[str] = []
        prompts: list[str] = []
        for text in dict.fromkeys(item.prompts):
            problem = self.length_problem(text) or (self.name_problem(text) if item.role == "retain" else "")
            (problems if problem else prompts).append(problem or text)
        may_contain = item.may_contain_target or item.role == "erase"
        corrected = item.model_copy(update={"prompts": tuple(prompts), "may_contain_target": may_contain})
        return corrected if len(prompts) >= FEWEST_PROMPTS else None, problems[0] if problems else ""


def _unless(problem: str, item: AnyPrompt) -> Validated[AnyPrompt]:
    return (None, problem) if problem else (item, "")


def _is_english(text: str) -> bool:
    return len(ENGLISH_WORDS.intersection(re.findall(r"\w+", text.casefold()))) >= _ENGLISH_WORDS_NEEDED


def validate_target(name: str) -> Callable[[TargetDescription], Validated[TargetDescription]]:
    """The validator of a target's description: it drops aliases and spellings that repeat a name or are too short."""

    def validate(item: TargetDescription) -> Validated[TargetDescription]:
        known = {fold(name)}
        aliases = _new_names(item.aliases, known)
        return item.model_copy(update={"aliases": aliases, "spellings": _new_names(item.spellings, known)}), ""

    return validate


def _new_names(names: Sequence[str], known: set[str]) -> tuple[str, ...]:
    """The names that are not `known` yet; adds them to `known`."""
    new = []
    for name in names:
        if fold(name) not in known and (len(fold(name)) > 2 or not fold(name).isascii()) and skeleton(name):
            known.add(fold(name))
            new.append(name)
    return tuple(new)


def too_few_languages(minimum: int) -> Callable[[Sequence[PromptWithLanguage]], str]:
    """The list problem of prompts in fewer than `minimum` languages besides English."""

    def list_problem(items: Sequence[PromptWithLanguage]) -> str:
        languages = sorted({item.language.partition("-")[0] for item in items} - {"en"})
        if len(languages) >= minimum:
            return ""
        return f"There are prompts in {len(languages)} languages besides English ({', '.join(languages)}); {minimum} are needed."

    return list_problem
