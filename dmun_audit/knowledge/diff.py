"""The differences between two dossiers, in the terms of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.knowledge.orderings import key_of, labels
from dmun_audit.verdict.ordering import spearman


def diff(old: Dossier, new: Dossier) -> list[str]:
    """The differences, a line each; empty for equal dossiers."""
    return [
        line for part in (_target, _concepts, _compositions, _adversarial, _orderings, _provenance) for line in part(old, new)
    ]


def _target(old: Dossier, new: Dossier) -> Iterator[str]:
    before, after = old.target, new.target
    for what, first, second in (
        ("target", before.name, after.name),
        ("kind of the target", before.kind, after.kind),
        ("world", old.world, new.world),
        ("label of the target", before.label, after.label),
    ):
        if first != second:
            yield f"{what}: {first!r} → {second!r}"
    yield from _texts("alias", before.aliases, after.aliases)
    yield from _texts("spelling", before.spellings, after.spellings)
    yield from _texts("anchor", old.anchors, new.anchors)
    yield from _texts("direct prompt", before.direct_prompts, after.direct_prompts)


def _concepts(old: Dossier, new: Dossier) -> Iterator[str]:
    before = {concept.name: concept for concept in old.concepts}
    after = {concept.name: concept for concept in new.concepts}
    for name in [name for name in before if name not in after]:
        yield f"nearby concept gone: {name} ({before[name].role}, {before[name].similarity:.2f})"
    for name in [name for name in after if name not in before]:
        yield f"nearby concept new: {name} ({after[name].role}, {after[name].similarity:.2f})"
    places = _places(old), _places(new)
    for name in [name for name in after if name in before]:
        yield from _concept(before[name], after[name], places[0][name], places[1][name])
    common = [name for name in before if name in after]
    if len(common) > 2 and [places[0][name] for name in common] != [places[1][name] for name in common]:
        correlation = spearman([before[name].similarity for name in common], [after[name].similarity for name in common], draws=1)
        if correlation.rho is not None:
            yield f"order of the {len(common)} concepts in both: Spearman's ρ = {correlation.rho:.2f}"


def _places(dossier: Dossier) -> dict[str, int]:
    ordered = sorted(dossier.concepts, key=lambda concept: (-concept.similarity, concept.name))
    return {concept.name: place for place, concept in enumerate(ordered, start=1)}


def _concept(before: NearbyConcept, after: NearbyConcept, old_place: int, new_place: int) -> Iterator[str]:
    name = after.name
    if before.role != after.role:
        yield f"{name}: {before.role} → {after.role}"
    if before.similarity != after.similarity:
        moved = f", place {old_place} → {new_place}" if old_place != new_place else ""
        yield f"{name}: similarity {before.similarity:.2f} → {after.similarity:.2f}{moved}"
    for what in ("kind", "relation", "label"):
        if getattr(before, what) != getattr(after, what):
            yield f"{name}: {what} {getattr(before, what)!r} → {getattr(after, what)!r}"
    if before.may_contain_target != after.may_contain_target:
        yield f"{name}: its pictures {'may now' if after.may_contain_target else 'may no longer'} show the target"
    yield from _texts(f"{name}: prompt", before.prompts, after.prompts)
    yield from _texts(f"{name}: competing label", before.against, after.against)


def _compositions(old: Dossier, new: Dossier) -> Iterator[str]:
    yield from _texts("prompt of composition", [p.text for p in old.compositions], [p.text for p in new.compositions])


def _adversarial(old: Dossier, new: Dossier) -> Iterator[str]:
    before = {prompt.text: prompt for prompt in old.adversarial}
    after = {prompt.text: prompt for prompt in new.adversarial}
    for text in [text for text in before if text not in after]:
        yield f"adversarial prompt gone: {text!r} ({before[text].strategy})"
    for text in [text for text in after if text not in before]:
        note = f"; {after[text].note}" if after[text].note else ""
        yield f"adversarial prompt new: {text!r} ({after[text].strategy}{note})"
    for text in [text for text in after if text in before and before[text] != after[text]]:
        yield f"adversarial prompt {text!r}: {_facts(before[text])} → {_facts(after[text])}"
    common = [text for text in before if text in after]
    if common != [text for text in after if text in before]:
        yield "adversarial prompts stand in another order: a policy that uses only the first prompts uses others"


def _facts(prompt: object) -> str:
    return ", ".join(str(getattr(prompt, name)) for name in ("strategy", "language", "note") if getattr(prompt, name))


def _orderings(old: Dossier, new: Dossier) -> Iterator[str]:
    before = {key_of(ordering): ordering for ordering in old.orderings}
    after = {key_of(ordering): ordering for ordering in new.orderings}
    for key, label in labels(sorted({*before, *after})).items():
        if before.get(key) != after.get(key):
            state = "gone" if key not in after else "new" if key not in before else "changed"
            yield f"ordering by the {label}: {state}"


def _provenance(old: Dossier, new: Dossier) -> Iterator[str]:
    before, after = old.provenance, new.provenance
    for what in ("backend", "model", "date", "temperature", "seed"):
        if getattr(before, what) != getattr(after, what):
            yield f"{what}: {getattr(before, what) or 'none'} → {getattr(after, what) or 'none'}"
    changed = sorted(
        name for name in {*before.templates, *after.templates} if before.templates.get(name) != after.templates.get(name)
    )
    if changed:
        yield f"questions with another wording: {', '.join(changed)}"
    for sentence in [sentence for sentence in after.history if sentence not in before.history]:
        yield f"since: {sentence}"
    for sentence in [sentence for sentence in before.thin if sentence not in after.thin]:
        yield f"no longer missing: {sentence}"
    for sentence in [sentence for sentence in after.thin if sentence not in before.thin]:
        yield f"now missing: {sentence}"
    for helper in [helper for helper in after.helpers if helper not in before.helpers]:
        yield f"{helper.model} gave {', '.join(helper.parts) or 'nothing'}"


def _texts(what: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for text in [text for text in old if text not in new]:
        yield f"{what} gone: {text!r}"
    for text in [text for text in new if text not in old]:
        yield f"{what} new: {text!r}"
