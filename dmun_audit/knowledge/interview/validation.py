"""Validators of single items: length, names, strategy. Each returns the item, corrected if need be, or None, and its problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rapidfuzz import fuzz

from dmun_audit.knowledge.dossier import NAMELESS, Kind, besides_english
from dmun_audit.knowledge.interview.aliases import TargetNames
from dmun_audit.knowledge.interview.answers import (
    Neighbour,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    PromptWithStrategy,
    TargetDescription,
)
from dmun_audit.knowledge.interview.dropped import FEW_PROMPTS, NAMES_TARGET, NO_LABEL, PLACEHOLDER, TARGETS_LABEL, Dropped
from dmun_audit.knowledge.interview.interviewer import Validated
from dmun_audit.knowledge.interview.labels import label_problem
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.languages import language_problem
from dmun_audit.knowledge.words.mentions import mentions
from dmun_audit.knowledge.words.names import Names, names_of
from dmun_audit.knowledge.words.placeholders import is_placeholder
from dmun_audit.knowledge.words.texts import fold, skeleton

AnyPrompt = TypeVar("AnyPrompt", bound=PlainPrompt)
FEWEST_PROMPTS = 2  # of one concept
_LEAST_SIMILARITY = 60.0  # per cent, between a word and a misspelt name


@dataclass(frozen=True)
class AnswerValidator:
    """Validates items about one target: `names` are all its names, `used` the folded prompts that have a role already.

    `about` says which names were refused, if names were asked about. `dropped` gets the reason for each concept that is not valid.
    """

    names: tuple[str, ...]
    kind: Kind
    label: str
    counter: TokenCounter
    used: frozenset[str] = frozenset()
    about: TargetNames | None = None
    dropped: Dropped = field(default_factory=Dropped, compare=False)

    @property
    def target_names(self) -> Names:
        """The matcher of the target's names."""
        return names_of(self.names, self.kind)

    def is_target(self, name: str) -> bool:
        """Whether `name` is a name of the target in some spelling."""
        return self.target_names.is_name(name) or identity(name) in map(identity, self.names)

    # Problems of a prompt, each "" if it has none.

    def form_problem(self, text: str) -> str:
        """The problem of a prompt that says nothing, or that the text encoder would cut off."""
        return f"{text!r} is a placeholder." if is_placeholder(text) else self.length_problem(text)

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
        if language and besides_english([language]) and (problem := language_problem(text, language, self.names, self.kind)):
            return f"{problem}."
        if strategy in NAMELESS:
            return self.name_problem(text)
        if strategy == "language" and language and not besides_english([language]):
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
        """A direct prompt names the target, and nothing else that a model once took for it."""
        text, about = item.prompt, self.about
        problem = "" if self.target_names.find_exact(text) else f"{text!r} does not name the target."
        if about and any(names_of((name,), self.kind).find_exact(text) for name in about.others):
            problem = problem or f"{text!r} names something else."
        refusals = about.refusals_in(text) if about and problem else ""
        return _unless(self.form_problem(text) or f"{problem} {refusals}".strip(), item)

    def validate_composition(self, item: PromptWithSkill) -> Validated[PromptWithSkill]:
        """A prompt of composition does not name the target."""
        text = item.prompt
        return _unless(self.reuse_problem(text) or self.form_problem(text) or self.name_problem(text), item)

    def validate_adversarial(self, strategy: str) -> Callable[[AnyPrompt], Validated[AnyPrompt]]:
        """The validator of adversarial prompts of one strategy."""

        def validate(item: AnyPrompt) -> Validated[AnyPrompt]:
            text, language = item.prompt, getattr(item, "language", "")
            problem = self.reuse_problem(text) or self.form_problem(text) or self.strategy_problem(strategy, text, language)
            return _unless(problem, item)

        return validate

    def validate_proposal(self, item: PromptWithStrategy) -> Validated[PromptWithStrategy]:
        """A proposed adversarial prompt follows the strategy that it states."""
        return self.validate_adversarial(item.strategy)(item)

    def validate_neighbour(self, item: Neighbour) -> Validated[Neighbour]:
        """A nearby concept with its valid prompts; None if it is the target itself or too few prompts are valid."""
        key = identity(item.name)
        (self.dropped.parts if item.role == "erase" else self.dropped.named).add(key)
        reason, problem = self._fault_of_concept(item)
        if reason:
            self.dropped.reasons[key] = reason
            return None, problem
        problems: list[str] = []
        prompts: list[str] = []
        for text in dict.fromkeys(item.prompts):
            problem = self.form_problem(text) or (self.name_problem(text) if item.role == "retain" else "")
            if item.role != "erase" and not problem and not mentions(text, item.name, item.label):
                problem = f"{text!r} does not mention {item.name!r}."
            (problems if problem else prompts).append(problem or text)
        if len(prompts) < FEWEST_PROMPTS:
            naming = all(self.name_problem(text) for text in item.prompts) and item.role == "retain"
            self.dropped.reasons[key] = NAMES_TARGET if naming else FEW_PROMPTS
            return None, problems[0] if problems else f"{item.name!r} has too few different prompts."
        may_contain = item.may_contain_target or item.role == "erase"
        corrected = item.model_copy(update={"prompts": tuple(prompts), "may_contain_target": may_contain})
        return corrected, problems[0] if problems else ""

    def _fault_of_concept(self, item: Neighbour) -> tuple[str, str]:
        """Why a concept is dropped for its name or label: in short, and as the model is told; two empty texts if it is not."""
        if self.is_target(item.name):
            return NAMES_TARGET, f"{item.name!r} is the target itself."
        if is_placeholder(item.name):
            return PLACEHOLDER, f"{item.name!r} is a placeholder."
        if fault := label_problem(item.label):
            return PLACEHOLDER if is_placeholder(item.label) else NO_LABEL, f"{item.name!r}: {fault}."
        if item.role == "retain" and fold(item.label) == fold(self.label):
            return TARGETS_LABEL, f"{item.name!r} has the target's own label."
        return "", ""


def _unless(problem: str, item: AnyPrompt) -> Validated[AnyPrompt]:
    return (None, problem) if problem else (item, "")


def validate_target(name: str) -> Callable[[TargetDescription], Validated[TargetDescription]]:
    """The validator of a target's description: it drops aliases and spellings that repeat a name or are too short."""

    def validate(item: TargetDescription) -> Validated[TargetDescription]:
        if fault := label_problem(item.label):
            return None, f"In {name!r}, {fault}."
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
        languages = sorted(besides_english(item.language for item in items))
        if len(languages) >= minimum:
            return ""
        return f"There are prompts in {len(languages)} languages besides English ({', '.join(languages)}); {minimum} are needed."

    return list_problem
