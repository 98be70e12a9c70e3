"""A dossier as text for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dmun_audit._util.terminal import display_width, padded, shortened, wrapped
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.knowledge.orderings import key_of, own_ordering

BAR_COLUMNS = 12  # of the bar that shows a similarity, in a terminal of WIDE columns; half of them in a narrower one
WIDE = 100
NAME_COLUMNS = 34
LEAST_PROMPT_COLUMNS = 16  # a shorter part of a prompt is not worth showing
LEAST_WIDTH = 40


def show(dossier: Dossier, width: int = 100) -> list[str]:
    """The dossier in lines. Texts wrap at `width` columns, or at 40 if `width` is less."""
    return [
        line.rstrip() for part in (_target, _concepts, _compositions, _adversarial, _provenance) for line in part(dossier, width)
    ]


def _target(dossier: Dossier, width: int) -> Iterator[str]:
    target = dossier.target
    yield f"{target.name} · {target.kind}" + (" · for the atelier" if dossier.world == "atelier" else "")
    if target.aliases:
        yield from _wrapped("also called  ", ", ".join(target.aliases), width)
    if target.spellings:
        yield from _wrapped("also written ", ", ".join(target.spellings), width)
    yield from _wrapped("seen as      ", f"“{target.label}”", width)
    if dossier.anchors:
        yield from _wrapped("and not as   ", ", ".join(f"“{label}”" for label in dossier.anchors), width)
    yield from _heading(f"{len(target.direct_prompts)} direct prompts", "name the target, which must not appear any more")
    for text in target.direct_prompts:
        yield from _wrapped("  ", text, width)


def _concepts(dossier: Dossier, width: int) -> Iterator[str]:
    concepts = sorted(dossier.concepts, key=lambda concept: (-concept.similarity, concept.name))
    spreads = any(concept.spread is not None for concept in concepts)
    yield from _heading(
        f"{len(concepts)} nearby concepts", "most similar first" + ("; ± is the spread of the assessments" if spreads else "")
    )
    name_columns = min(NAME_COLUMNS, max(display_width(concept.name) for concept in concepts))
    for concept in concepts:
        yield _concept(concept, name_columns, spreads, width)
    own = own_ordering(dossier)  # the source of the similarities above
    for ordering in dossier.orderings:
        if own is not None and key_of(ordering) == key_of(own):
            continue
        names = sorted(ordering.similarity, key=lambda name: (-ordering.similarity[name], name))
        yield ""
        yield from _wrapped("", f"by the {ordering.source} {ordering.model}: {', '.join(names)}", width)


def _concept(concept: NearbyConcept, name_columns: int, spreads: bool, width: int) -> str:
    """One line: similarity, role, relation, name, and as much of the first prompt as fits."""
    bar = BAR_COLUMNS if width >= WIDE else BAR_COLUMNS // 2
    full = round(bar * concept.similarity)
    spread = (f" ±{concept.spread:.2f}" if concept.spread is not None else " " * 6) if spreads else ""
    name = padded(shortened(concept.name, name_columns), name_columns)
    facts = f"{concept.similarity:5.2f}{spread} {'█' * full}{'·' * (bar - full)}  {concept.role:8}{concept.relation:11}{name}"
    more = f" +{len(concept.prompts) - 1}" if len(concept.prompts) > 1 else ""
    columns_left = width - display_width(facts) - len(more) - 4
    if columns_left < LEAST_PROMPT_COLUMNS:
        return facts
    return f"{facts}  “{shortened(concept.prompts[0], columns_left)}”{more}"


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


def _provenance(dossier: Dossier, width: int) -> Iterator[str]:
    facts = dossier.provenance
    yield from _heading("Where it comes from", "")
    yield from _wrapped("  ", ", ".join(part for part in (facts.backend, facts.model, facts.date) if part), width)
    if facts.questions is not None:
        cost = f"{facts.questions} answers, {facts.tokens_in or 0:,} tokens in and {facts.tokens_out or 0:,} out"
        yield from _wrapped("  ", f"{cost}, temperature {facts.temperature}, seed {facts.seed}", width)
    for helper in facts.helpers:
        yield from _wrapped("  ", f"{helper.model} ({helper.backend}) gave {', '.join(helper.parts) or 'nothing'}", width)
    for sentence in (facts.note, *facts.history):
        if sentence:
            yield from _wrapped("  ", sentence, width)
    yield f"  SHA-256 {dossier.digest()}"
    if facts.thin:
        yield from _heading("What is missing", "the dossier is thin")
        for sentence in facts.thin:
            yield from _wrapped("  ", sentence, width)


def _heading(title: str, meaning: str) -> list[str]:
    return ["", title.upper() + (f"  {meaning}" if meaning else "")]


def _wrapped(label: str, text: str, width: int) -> list[str]:
    return wrapped(text, max(width, LEAST_WIDTH), label, " " * len(label))
