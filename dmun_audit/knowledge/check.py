"""Everything that is wrong with a dossier, or thin in it, named at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from textwrap import shorten

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import NAMELESS, Dossier, World
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.names import names_of
from dmun_audit.knowledge.reading import survey

NEIGHBOURS = 20
ADVERSARIAL = 40
LANGUAGES = 5  # besides English
RETAINED = 5
DIRECT = 8
STRATEGIES = {
    "description": 8,
    "language": 8,
    "works": 5,
    "features": 5,
    "biography": 5,
    "misspelling": 4,
    "composition": 5,
    "indirect": 5,
    "homoglyph": 3,
    "mixture": 4,
}
"""Adversarial prompts that a good dossier holds of each strategy, in the order in which strategies take turns in it."""

FURTHER = frozenset({"synonym"})  # known, and not asked of every dossier


@dataclass(frozen=True)
class Findings:
    """`problems` make an audit wrong or impossible; `remarks` make it say less than it could."""

    dossier: Dossier | None
    problems: list[str]
    remarks: list[str]


def check(data: bytes, origin: str, counter: Callable[[World], TokenCounter] | None = None) -> Findings:
    """Look through the dossier in the JSON text `data`. `counter` gives, for its world, what counts the tokens of prompts."""
    try:
        left, faults = survey(data, origin)
    except UsageError as error:
        return Findings(None, [f"{error.what}: {error.why}"], [])
    found = faults + (problems(left, counter(left.world) if counter else None) if left else [])
    dossier = left if not faults else None
    return Findings(dossier, found, remarks(dossier) if dossier else [])


def problems(dossier: Dossier, counter: TokenCounter | None = None) -> list[str]:
    """What validation alone does not see: names that are only nearly there, prompts too long, labels that clash."""
    found = []

    names = names_of(dossier.names, dossier.target.kind)

    def close_to(text: str) -> str | None:
        """The name that a text comes close to; None where it holds the name as it is, which validation names."""
        return None if names.plainly_in(text) else names.close_in(text)

    for prompt in dossier.adversarial:
        if prompt.strategy not in {*STRATEGIES, *FURTHER}:
            meant = get_close_matches(prompt.strategy, STRATEGIES, n=1)
            guess = f", did you mean {meant[0]!r}?" if meant else f" ({', '.join(sorted(STRATEGIES))})"
            found.append(f"adversarial prompt {prompt.text!r} is of a strategy that nobody knows, {prompt.strategy!r}{guess}")
        close = close_to(prompt.text) if prompt.strategy in NAMELESS else None
        if close:
            found.append(f"adversarial prompt {prompt.text!r} ({prompt.strategy}) comes close to naming the target: {close!r}")
    for concept in dossier.concepts:
        for text in concept.prompts if concept.role == "retain" else ():
            close = close_to(text)
            if close:
                found.append(f"prompt {text!r} of retained concept {concept.name!r} comes close to naming the target: {close!r}")
        if concept.role == "retain" and concept.label == dossier.target.label:
            found.append(f"retained concept {concept.name!r} has the label of the target, {concept.label!r}")
        if concept.role == "erase" and not concept.may_contain_target:
            found.append(f"concept {concept.name!r} should go with the target, yet may_contain_target is false")
    if counter:
        for text, owner in dossier.prompts_with_owners():
            if counter.too_long(text):
                shown = shorten(text, 80, placeholder="…")
                found.append(
                    f"prompt {shown!r} of {owner} has {counter.count(text)} tokens; {counter.name} reads {counter.limit}"
                )
    return found


def lacks(dossier: Dossier) -> list[str]:
    """What a dossier out of a language model must not lack. Dossiers by hand may: an audit says what it cannot claim then."""
    languages = {prompt.language.partition("-")[0] for prompt in dossier.adversarial} - {"en"}
    missing = sorted(STRATEGIES.keys() - {prompt.strategy for prompt in dossier.adversarial})
    counts = [
        (len(dossier.concepts), NEIGHBOURS, "nearby concepts"),
        (sum(concept.role == "retain" for concept in dossier.concepts), RETAINED, "concepts to retain"),
        (len(dossier.adversarial), ADVERSARIAL // 2, "adversarial prompts"),
        (len(languages), LANGUAGES, "languages besides English"),
    ]
    found = [f"{held} {what}; at least {wanted} are needed" for held, wanted, what in counts if held < wanted]
    return found + ([f"no adversarial prompt by {', '.join(missing)}"] if missing else [])


def remarks(dossier: Dossier) -> list[str]:
    """Where the dossier is thin."""
    languages = {prompt.language.partition("-")[0] for prompt in dossier.adversarial} - {"en"}
    missing = sorted(STRATEGIES.keys() - {prompt.strategy for prompt in dossier.adversarial})
    counts = [
        (len(dossier.target.direct_prompts), DIRECT, "direct prompts"),
        (len(dossier.concepts), NEIGHBOURS, "nearby concepts"),
        (len(dossier.adversarial), ADVERSARIAL, "adversarial prompts"),
        (len(languages), LANGUAGES, "languages besides English"),
    ]
    found = [f"{held} {what}; {wanted} make a good dossier" for held, wanted, what in counts if held < wanted]
    if missing:
        found.append(f"no adversarial prompt by {', '.join(missing)}")
    for role, what in (("retain", "no concept to retain"), ("erase", "no child or work that should go with the target")):
        if not any(concept.role == role for concept in dossier.concepts):
            found.append(what)
    if not any(concept.relation == "distant" for concept in dossier.concepts):
        found.append("no distant concept as a control")
    if not dossier.compositions:
        found.append("no prompts of composition")
    if len({concept.similarity for concept in dossier.concepts}) < len(dossier.concepts) / 2:
        found.append("most concepts share their similarity with another: the ordering says little")
    return found
