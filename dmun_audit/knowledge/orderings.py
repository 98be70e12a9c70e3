"""Names of a dossier's orderings: several of one source are told apart by their models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dmun_audit.knowledge.dossier import Dossier, Ordering

SourceKey = tuple[str, str]
"""What tells one ordering from another: its source, and its model."""


def key_of(ordering: Ordering) -> SourceKey:
    """Source and model of an ordering."""
    return ordering.source, ordering.model


def labels(keys: Iterable[SourceKey]) -> dict[SourceKey, str]:
    """A short, unique name for each source with its model, in the order of `keys`.

    The only model of a source needs no name: "language model". Several are named by the last part of their path, such as
    "language model Llama-3.1-8B-Instruct", or by the whole of it where two models share that part.
    """
    distinct = list(dict.fromkeys(keys))
    models_of = Counter(source for source, _ in distinct)
    shared = Counter((source, short_name(model)) for source, model in distinct)
    named: dict[SourceKey, str] = {}
    for source, model in distinct:
        short = short_name(model)
        name = short if shared[source, short] == 1 else model
        named[source, model] = source if models_of[source] == 1 else f"{source} {name}"
    return named


def short_name(model: str) -> str:
    """The last part of a model's path: "Llama-3.1-8B" of "meta-llama/Llama-3.1-8B"."""
    return model.rstrip("/").rpartition("/")[2] or model


def own_ordering(dossier: Dossier) -> Ordering | None:
    """The ordering of the language model that made the dossier, which gave the concepts their own similarity; None without one."""
    if dossier.provenance.backend == "curated":
        return None
    own = {concept.name: concept.similarity for concept in dossier.concepts}
    return next((ordering for ordering in dossier.orderings if ordering.similarity == own), None)
