"""What an ordering is made of: the sources of similarity to the target, and the measures of damage, of a concept's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.orderings import SourceKey, key_of, labels, own_ordering, short_name
from dmun_audit.verdict.vocabulary import Verdict

Value = Callable[[CaseRecord], float | None]


@dataclass(frozen=True)
class SimilaritySource:
    """A source of similarity: its `label` in reports, its kind with the model behind it, and the similarity that it gives a concept.

    `model` is empty where no model of language stands behind the source.
    """

    label: str
    kind: str
    model: str
    similarity: Value


def _fall(measure: str) -> Value:
    """Base minus candidate of a measure on which higher is better."""

    def value(record: CaseRecord) -> float | None:
        before, after = record.measures.get(f"{measure}_base"), record.measures.get(f"{measure}_candidate")
        return None if before is None or after is None else before - after

    return value


def _measure(name: str) -> Value:
    return lambda record: record.measures.get(name)


DAMAGE: Mapping[str, Value] = {
    "clip_accuracy": _fall("clip_accuracy"),
    "clip_score": _fall("clip_score"),
    "kid": _measure("kid_paired"),
    "cmmd": _measure("cmmd_paired"),
    "lpips": _measure("lpips"),
}
"""The damage of a concept by each metric; higher is worse. None if it was not measured. Ties share their average rank."""


def sources_of(dossier: Dossier) -> list[SimilaritySource]:
    """Every source of similarity to the target. The one that gave the concepts their own similarity comes first."""
    own = own_ordering(dossier)
    sources = []
    if own is None:
        name = "curator" if dossier.provenance.backend == "curated" else "dossier"
        sources.append(SimilaritySource(name, name, "", lambda record: record.concept.similarity if record.concept else None))
    orderings = sorted(dossier.orderings, key=lambda ordering: ordering is not own)
    names = source_labels(map(key_of, orderings))
    for ordering in orderings:
        similarity = partial(_stated, ordering.similarity)
        sources.append(SimilaritySource(names[key_of(ordering)], ordering.source, ordering.model, similarity))
    for kind in ("text", "image"):
        sources.append(SimilaritySource(f"CLIP {kind}", f"CLIP {kind}", "", _measure(f"similarity_clip_{kind}")))
    return sources


def source_labels(keys: Iterable[SourceKey]) -> dict[SourceKey, str]:
    """The `labels` of orderings. A vision-language model is named even if it is the only one: no other part of a report names it."""
    named = labels(keys)
    return {
        (kind, model): f"{kind} {short_name(model)}" if label == kind == "vision-language model" and model else label
        for (kind, model), label in named.items()
    }


def _stated(similarity: Mapping[str, float], record: CaseRecord) -> float | None:
    return similarity.get(record.concept.name) if record.concept else None


def known_concepts(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """The records of the concepts that the base model knows."""
    return [record for record in records if record.concept and record.verdict != Verdict.VACUOUS]


def measured(records: Iterable[CaseRecord], similarity: Value, damage: Value) -> Iterator[tuple[str, float, float]]:
    """Name, similarity and damage of each concept that has both."""
    for record in records:
        first, second = similarity(record), damage(record)
        if record.concept and first is not None and second is not None:
            yield record.concept.name, first, second
