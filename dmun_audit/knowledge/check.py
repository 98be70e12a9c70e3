"""All problems of a dossier at once, and remarks on what it has too little of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from textwrap import shorten

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.content_check import content_problems, content_remarks
from dmun_audit.knowledge.dossier import NAMELESS, Dossier, World
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.reading import parse_valid_part
from dmun_audit.knowledge.thin_sentences import covers, named_in
from dmun_audit.knowledge.words.names import names_of

NEIGHBOURS = 20
ADVERSARIAL = 40
LANGUAGES = 5  # besides English
RETAINED = 5
DIRECT = 8
COMPOSITIONS = 6
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
"""The number of adversarial prompts of each strategy in a good dossier, in the order in which strategies take turns."""

THIN = "thin: "  # begins a remark on a part that could not be had

TOKEN_SEARCH = "token search"
"""The strategy of prompts that an attack with the weights found."""

OPTIONAL_STRATEGIES = frozenset({"synonym", TOKEN_SEARCH})


@dataclass(frozen=True)
class CheckResult:
    """The result of a check. `problems` make an audit wrong or impossible; `remarks` make it say less than it could.

    `dossier` is None if the dossier is not valid.
    """

    dossier: Dossier | None
    problems: list[str]
    remarks: list[str]


def check(data: bytes, origin: str, counter: Callable[[World], TokenCounter] | None = None) -> CheckResult:
    """Check the dossier in the JSON text `data`; `origin` names it in errors. `counter` gives the token counter of a world."""
    try:
        valid_part, faults = parse_valid_part(data, origin)
    except UsageError as error:
        return CheckResult(None, [f"{error.what}: {error.why}"], [])
    found = problems(valid_part, counter(valid_part.world) if counter else None) if valid_part else []
    dossier = valid_part if not faults else None
    return CheckResult(dossier, faults + found, remarks(dossier) if dossier else [])


def problems(dossier: Dossier, counter: TokenCounter | None = None) -> list[str]:
    """Problems beyond validation: wrong names, names that a prompt comes close to, prompts too long, labels that clash."""
    lines = content_problems(dossier)

    names = names_of(dossier.names, dossier.target.kind)

    def close_to(text: str) -> str | None:
        """The name that a text comes close to; None for an exact name, which validation reports."""
        return None if names.find_exact(text) else names.find_close(text)

    for prompt in dossier.adversarial:
        if prompt.strategy not in {*STRATEGIES, *OPTIONAL_STRATEGIES}:
            meant = get_close_matches(prompt.strategy, STRATEGIES, n=1)
            guess = f", did you mean {meant[0]!r}?" if meant else f" ({', '.join(sorted(STRATEGIES))})"
            lines.append(f"adversarial prompt {prompt.text!r} has the unknown strategy {prompt.strategy!r}{guess}")
        close = close_to(prompt.text) if prompt.strategy in NAMELESS else None
        if close:
            lines.append(f"adversarial prompt {prompt.text!r} ({prompt.strategy}) comes close to naming the target: {close!r}")
    for concept in dossier.concepts:
        for text in concept.prompts if concept.role == "retain" else ():
            close = close_to(text)
            if close:
                lines.append(f"prompt {text!r} of retained concept {concept.name!r} comes close to naming the target: {close!r}")
        if concept.role == "retain" and concept.label == dossier.target.label:
            lines.append(f"retained concept {concept.name!r} has the label of the target, {concept.label!r}")
        if concept.role == "erase" and not concept.may_contain_target:
            lines.append(f"concept {concept.name!r} has the role 'erase', so may_contain_target must be true")
    if counter:
        for text, owner in dossier.prompts_with_owners():
            if counter.too_long(text):
                shown = shorten(text, 80, placeholder="…")
                lines.append(
                    f"prompt {shown!r} of {owner} has {counter.count(text)} tokens; {counter.name} reads {counter.limit}"
                )
    return lines


def remarks(dossier: Dossier) -> list[str]:
    """What the dossier has too little of for a good audit: first what makes it thin, then what that does not say."""
    thin = dossier.provenance.thin
    lines = [*_few(dossier), *_without(dossier)]
    if len({concept.similarity for concept in dossier.concepts}) < len(dossier.concepts) / 2 and not covers(thin, "similarity"):
        lines.append("most concepts share their similarity with another: the ordering says little")
    return [*(f"{THIN}{sentence}" for sentence in thin), *lines, *content_remarks(dossier)]


def _few(dossier: Dossier) -> Iterator[str]:
    """The parts of which there are too few, unless the dossier says so of itself."""
    counts = [
        (len(dossier.target.direct_prompts), DIRECT, "direct prompts"),
        (len(dossier.concepts), NEIGHBOURS, "nearby concepts"),
        (len(dossier.adversarial), ADVERSARIAL, "adversarial prompts"),
        (len(dossier.languages), LANGUAGES, "languages besides English"),
    ]
    for count, wanted, what in counts:
        if count < wanted and not covers(dossier.provenance.thin, what):
            yield f"{count} {what}; {wanted} make a good dossier"


def _without(dossier: Dossier) -> Iterator[str]:
    """The strategies, roles and relations of which there is nothing, unless the dossier says so of itself."""
    thin = dossier.provenance.thin
    missing = STRATEGIES.keys() - {prompt.strategy for prompt in dossier.adversarial} - named_in(thin)
    if covers(thin, "languages besides English"):
        missing -= {"language"}
    if missing:
        yield f"no adversarial prompt by {', '.join(sorted(missing))}"
    roles = {concept.role for concept in dossier.concepts}
    if "retain" not in roles and not covers(thin, "concepts to retain"):
        yield "no concept to retain"
    if "erase" not in roles:
        yield "no child or work that should go with the target"
    if not any(concept.relation == "distant" for concept in dossier.concepts) and "distant" not in named_in(thin):
        yield "no distant concept as a control"
    if not dossier.compositions and not covers(thin, "prompts of composition"):
        yield "no prompts of composition"
