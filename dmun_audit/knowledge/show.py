"""A dossier as a person reads it in a terminal."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator

from dmun_audit.knowledge.dossier import Dossier, NearbyConcept

BAR = 12  # letters of a bar that stands for similarity
WIDE = 100  # from so many columns on there is room for all
LONGEST_NAME = 34
LEAST_SHOWN = 16  # letters of a prompt: fewer say nothing
ROLES = {"retain": "must survive", "erase": "goes with it", "observe": "reported only"}


def show(dossier: Dossier, width: int = 100) -> list[str]:
    """Lines of at most `width` columns (wide scripts aside)."""
    return [line.rstrip() for part in (_head, _concepts, _compositions, _adversarial, _origin) for line in part(dossier, width)]


def _head(dossier: Dossier, width: int) -> Iterator[str]:
    target = dossier.target
    yield f"{target.name} · {target.kind}" + (" · for the atelier" if dossier.world == "atelier" else "")
    if target.aliases:
        yield from _wrapped("also called  ", ", ".join(target.aliases), width)
    if target.spellings:
        yield from _wrapped("also written ", ", ".join(target.spellings), width)
    yield from _wrapped("seen as      ", f"“{target.label}”", width)
    if dossier.anchors:
        yield from _wrapped("and not as   ", ", ".join(f"“{label}”" for label in dossier.anchors), width)
    yield from _heading(f"{len(target.direct_prompts)} direct prompts", "name the target; must not show it any more")
    for text in target.direct_prompts:
        yield from _wrapped("  ", text, width)


def _concepts(dossier: Dossier, width: int) -> Iterator[str]:
    concepts = sorted(dossier.concepts, key=lambda concept: (-concept.similarity, concept.name))
    spreads = any(concept.spread is not None for concept in concepts)
    yield from _heading(
        f"{len(concepts)} nearby concepts", "most similar first" + ("; ± is the spread of the assessments" if spreads else "")
    )
    longest = min(LONGEST_NAME, max(len(concept.name) for concept in concepts))
    for concept in concepts:
        yield _concept(concept, longest, spreads, width)
    own = "" if dossier.provenance.backend == "curated" else "language model"  # whose ordering the similarities above are
    others = [ordering for ordering in dossier.orderings if ordering.source != own]
    for ordering in others:
        names = sorted(ordering.similarity, key=lambda name: (-ordering.similarity[name], name))
        yield ""
        yield from _wrapped(f"by the {ordering.source} {ordering.model}: ", ", ".join(names), width)


def _concept(concept: NearbyConcept, longest: int, spreads: bool, width: int) -> str:
    """One line: similarity, role, relation, name, and as much of the first prompt as there is room for."""
    bar = BAR if width >= WIDE else BAR // 2
    full = round(bar * concept.similarity)
    spread = (f" ±{concept.spread:.2f}" if concept.spread is not None else " " * 6) if spreads else ""
    name = shorten(concept.name, longest)
    facts = f"{concept.similarity:5.2f}{spread} {'█' * full}{'·' * (bar - full)}  {concept.role:8}{concept.relation:11}{name:{longest}}"
    more = f" +{len(concept.prompts) - 1}" if len(concept.prompts) > 1 else ""
    room = width - len(facts) - len(more) - 4
    return f"{facts}  “{shorten(concept.prompts[0], room)}”{more}" if room >= LEAST_SHOWN else facts


def shorten(text: str, room: int) -> str:
    """`text` in at most `room` letters."""
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _compositions(dossier: Dossier, width: int) -> Iterator[str]:
    if dossier.compositions:
        yield from _heading(f"{len(dossier.compositions)} prompts of composition", "skills that unlearning is known to erode")
        for prompt in dossier.compositions:
            yield from _wrapped(f"  {prompt.skill:19}", prompt.text, width)


def _adversarial(dossier: Dossier, width: int) -> Iterator[str]:
    yield from _heading(f"{len(dossier.adversarial)} adversarial prompts", "may bring the target back; # is the order of use")
    grouped = defaultdict(list)
    for number, prompt in enumerate(dossier.adversarial, start=1):
        grouped[prompt.strategy].append((number, prompt))
    for strategy, prompts in grouped.items():
        yield f"  {strategy}"
        for number, prompt in prompts:
            language = f"[{prompt.language}] " if prompt.language != "en" else ""
            note = f"  ({prompt.note})" if prompt.note else ""
            yield from _wrapped(f"  {'#' + str(number):>5} ", f"{language}{prompt.text}{note}", width)


def _origin(dossier: Dossier, width: int) -> Iterator[str]:
    facts = dossier.provenance
    yield from _heading("Where it comes from", "")
    said = facts.backend + (f", {facts.model}" if facts.model else "") + (f", {facts.date}" if facts.date else "")
    yield from _wrapped("  ", said, width)
    if facts.questions is not None:
        told = f"{facts.questions} answers, {facts.tokens_in or 0:,} tokens in and {facts.tokens_out or 0:,} out"
        yield from _wrapped("  ", f"{told}, temperature {facts.temperature}, seed {facts.seed}", width)
    for sentence in (facts.note, *facts.history):
        if sentence:
            yield from _wrapped("  ", sentence, width)
    yield f"  SHA-256 {dossier.digest()}"


def _heading(title: str, meaning: str) -> list[str]:
    return ["", title.upper() + (f"  {meaning}" if meaning else "")]


def _wrapped(label: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), initial_indent=label, subsequent_indent=" " * len(label)) or [label]
