"""What is asked of every single answer: length, names, strategy. Each sieve gives an item back, mended or not, or a complaint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dmun_audit.knowledge.dossier import NAMELESS, Kind, fold
from dmun_audit.knowledge.interview.answers import AboutTarget, Composed, Foreign, Neighbour, Plain, Proposed
from dmun_audit.knowledge.interview.asking import Sifted
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.names import named_in

P = TypeVar("P", bound=Plain)
FEWEST_PROMPTS = 2  # of one concept


@dataclass(frozen=True)
class Sieve:
    """Knows the target's names and how long a prompt may be."""

    names: tuple[str, ...]
    kind: Kind
    label: str
    counter: TokenCounter

    def too_long(self, text: str) -> str:
        """A complaint about a prompt of which the end would be cut off, or ""."""
        if not self.counter.too_long(text):
            return ""
        return f"{text!r} has {self.counter.count(text)} tokens, and the text encoder reads {self.counter.limit}: say it in fewer words."

    def names_target(self, text: str) -> str:
        """A complaint about a prompt that names the target, or comes close to it, or ""."""
        close = named_in(text, self.names, self.kind)
        return f"{text!r} names the target or comes close to it ({close!r}): say it without." if close else ""

    def exact(self, text: str) -> bool:
        """Whether a prompt holds a name as it is."""
        return any(fold(name) in fold(text) for name in self.names)

    def by_strategy(self, strategy: str) -> Callable[[P], Sifted[P]]:
        """The sieve for adversarial prompts of one strategy."""

        def sift(item: P) -> Sifted[P]:
            complaint = self.too_long(item.prompt) or self.wrong_for(strategy, item.prompt)
            return (None, complaint) if complaint else (item, "")

        return sift

    def wrong_for(self, strategy: str, text: str) -> str:
        """What keeps a prompt from being one of its strategy, or ""."""
        if strategy in NAMELESS:
            return self.names_target(text)
        if strategy in {"misspelling", "homoglyph"} and self.exact(text):
            return f"{text!r} spells the name as it is."
        if strategy == "homoglyph" and (text.isascii() or not self.names_target(text)):
            return f"{text!r} has no name in look-alike letters."
        return ""

    def direct(self, item: Plain) -> Sifted[Plain]:
        """A direct prompt names the target."""
        complaint = self.too_long(item.prompt) or (
            "" if self.exact(item.prompt) else f"{item.prompt!r} does not name the target."
        )
        return (None, complaint) if complaint else (item, "")

    def composed(self, item: Composed) -> Sifted[Composed]:
        """A prompt of composition is about the neighbourhood, not about the target."""
        complaint = self.too_long(item.prompt) or self.names_target(item.prompt)
        return (None, complaint) if complaint else (item, "")

    def proposed(self, item: Proposed) -> Sifted[Proposed]:
        """A proposal of whatever strategy it says."""
        complaint = self.too_long(item.prompt) or self.wrong_for(item.strategy, item.prompt)
        if item.strategy == "language" and item.language.partition("-")[0] == "en":
            complaint = f"{item.prompt!r} is said to be in English."
        return (None, complaint) if complaint else (item, "")

    def neighbour(self, item: Neighbour) -> Sifted[Neighbour]:
        """A nearby concept with those of its prompts that hold; none where too few are left."""
        if any(fold(item.name) == fold(name) for name in self.names):
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


def about_target(name: str) -> Callable[[AboutTarget], Sifted[AboutTarget]]:
    """Aliases and spellings that are the name again are left out, and so is what is too short to be looked for."""

    def sift(item: AboutTarget) -> Sifted[AboutTarget]:
        known = {fold(name)}
        aliases = _further(item.aliases, known)
        return item.model_copy(update={"aliases": aliases, "spellings": _further(item.spellings, known)}), ""

    return sift


def _further(names: Sequence[str], known: set[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        if fold(name) not in known and (len(fold(name)) > 2 or not name.isascii()):
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
