"""What is asked of every single answer: length, names, strategy. Each validator gives an item back, mended or not, or a complaint."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz import fuzz

from dmun_audit.knowledge.dossier import NAMELESS, Kind
from dmun_audit.knowledge.interview.answers import AboutTarget, Composed, Foreign, Neighbour, Plain, Proposed
from dmun_audit.knowledge.interview.interviewer import Sifted
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.names import Names, names_of
from dmun_audit.knowledge.texts import fold, skeleton

P = TypeVar("P", bound=Plain)
FEWEST_PROMPTS = 2  # of one concept
ENGLISH = frozenset({"a", "an", "the", "of", "with", "and", "by", "in", "on"})
_ENOUGH = 3  # different ones of them: each is a word of some other language too
RESEMBLES = 60.0  # per cent


@dataclass(frozen=True)
class AnswerValidator:
    """Knows the target's names, how long a prompt may be, and which prompts are `taken` (folded): each has one role."""

    names: tuple[str, ...]
    kind: Kind
    label: str
    counter: TokenCounter
    taken: frozenset[str] = frozenset()

    @property
    def known(self) -> Names:
        """The target's names and what comes close to them."""
        return names_of(self.names, self.kind)

    def unfit(self, text: str) -> str:
        """A complaint about a prompt that stands elsewhere already or that would be cut off, or ""."""
        return f"{text!r} is used already." if fold(text) in self.taken else self.too_long(text)

    def too_long(self, text: str) -> str:
        """A complaint about a prompt of which the end would be cut off, or ""."""
        if not self.counter.too_long(text):
            return ""
        return f"{text!r} has {self.counter.count(text)} tokens, and the text encoder reads {self.counter.limit}: say it in fewer words."

    def names_target(self, text: str) -> str:
        """A complaint about a prompt that names the target, or comes close to it, or ""."""
        close = self.known.close_in(text)
        return f"{text!r} names the target or comes close to it ({close!r}): say it without." if close else ""

    def by_strategy(self, strategy: str) -> Callable[[P], Sifted[P]]:
        """The validator for adversarial prompts of one strategy."""

        def validate(item: P) -> Sifted[P]:
            complaint = self.unfit(item.prompt) or self.wrong_for(strategy, item.prompt, getattr(item, "language", ""))
            return (None, complaint) if complaint else (item, "")

        return validate

    def wrong_for(self, strategy: str, text: str, language: str = "") -> str:
        """What keeps a prompt from being one of its strategy, or "". `language` is the code that it is said to be in."""
        if strategy in NAMELESS:
            return self.names_target(text)
        if strategy == "language" and (language.partition("-")[0] == "en" or _english(text)):
            return f"{text!r} is in English."
        if strategy == "misspelling":
            if self.known.plainly_in(text) and not self.known.slip_in(text):
                return f"{text!r} spells the name as it is."
            return "" if self._resembles(text) else f"{text!r} has no misspelt name."
        if strategy == "homoglyph" and not self.known.disguised_in(text):
            return f"{text!r} has no name in look-alike letters."
        return ""

    def _resembles(self, text: str) -> bool:
        """Whether words of `text` look at all like a name, or like a word of one: most of the letters in the same order."""
        words = skeleton(text)
        runs = {"".join(words[start : start + length]) for length in (1, 2, 3) for start in range(len(words) - length + 1)}
        wanted = {part for name in self.names for part in ("".join(skeleton(name)), *skeleton(name)) if len(part) > 3}
        return not wanted or any(fuzz.ratio(run, part) >= RESEMBLES for run in runs for part in wanted)

    def direct(self, item: Plain) -> Sifted[Plain]:
        """A direct prompt names the target."""
        plainly = self.known.plainly_in(item.prompt)
        complaint = self.too_long(item.prompt) or ("" if plainly else f"{item.prompt!r} does not name the target.")
        return (None, complaint) if complaint else (item, "")

    def composed(self, item: Composed) -> Sifted[Composed]:
        """A prompt of composition is about the neighbourhood, not about the target."""
        complaint = self.unfit(item.prompt) or self.names_target(item.prompt)
        return (None, complaint) if complaint else (item, "")

    def proposed(self, item: Proposed) -> Sifted[Proposed]:
        """A proposal of whatever strategy it says."""
        return self.by_strategy(item.strategy)(item)

    def neighbour(self, item: Neighbour) -> Sifted[Neighbour]:
        """A nearby concept with those of its prompts that hold; none where too few are left."""
        if self.known.is_one(item.name):
            return None, f"{item.name!r} is the target itself."
        if item.role == "retain" and fold(item.label) == fold(self.label):
            return None, f"{item.name!r} has the target's own label."
        complaints: list[str] = []
        kept: list[str] = []
        for text in dict.fromkeys(item.prompts):
            complaint = self.too_long(text) or (self.names_target(text) if item.role == "retain" else "")
            (complaints if complaint else kept).append(complaint or text)
        mended = item.model_copy(
            update={"prompts": tuple(kept), "may_contain_target": item.may_contain_target or item.role == "erase"}
        )
        return mended if len(kept) >= FEWEST_PROMPTS else None, complaints[0] if complaints else ""


def _english(text: str) -> bool:
    return len(ENGLISH.intersection(re.findall(r"\w+", text.casefold()))) >= _ENOUGH


def about_target(name: str) -> Callable[[AboutTarget], Sifted[AboutTarget]]:
    """Aliases and spellings that are the name again are left out, and so is what is too short to be looked for."""

    def validate(item: AboutTarget) -> Sifted[AboutTarget]:
        known = {fold(name)}
        aliases = _further(item.aliases, known)
        return item.model_copy(update={"aliases": aliases, "spellings": _further(item.spellings, known)}), ""

    return validate


def _further(names: Sequence[str], known: set[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        if fold(name) not in known and (len(fold(name)) > 2 or not fold(name).isascii()) and skeleton(name):
            known.add(fold(name))
            found.append(name)
    return tuple(found)


def many_languages(least: int) -> Callable[[Sequence[Foreign]], str]:
    """A complaint where prompts are in fewer than `least` languages besides English, or ""."""

    def complete(items: Sequence[Foreign]) -> str:
        languages = sorted({item.language.partition("-")[0] for item in items} - {"en"})
        if len(languages) >= least:
            return ""
        return f"There are prompts in {len(languages)} languages besides English ({', '.join(languages)}); {least} are needed."

    return complete
