"""Orderings of a dossier's concepts: by a language model, and by a vision-language model that sees images of the base model."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from dmun_audit.discover.findings import about, asked_for, with_found
from dmun_audit.knowledge.dossier import Dossier, Ordering
from dmun_audit.knowledge.interview.answers import Looked
from dmun_audit.knowledge.interview.interviewer import Interviewer, Query
from dmun_audit.knowledge.interview.similarity_questions import assess, ordering_of
from dmun_audit.plan.case import requests_for
from dmun_audit.render.engine import Engine

LOOKED_AT = 2  # pictures of the target and of a concept, side by side


def looking_budget(dossier: Dossier) -> int:
    """The images that `order_by_looking` needs."""
    return LOOKED_AT * (1 + len(dossier.concepts))


def order_by_looking(dossier: Dossier, engine: Engine, interviewer: Interviewer) -> Dossier:
    """The dossier with the ordering of a vision-language model that sees images of the target and of each concept, drawn by
    the `engine`'s base model."""
    target, *others = _pictures(engine, [dossier.target.direct_prompts, *(concept.prompts for concept in dossier.concepts)])
    queries = [
        Query(
            "look",
            {"target": dossier.target.name, "concept": concept.name, "shown": LOOKED_AT},
            Looked,
            f"how similar {concept.name!r} looks",
            1,
            1,
            images=(*target, *shown),
            tokens=200,
        )
        for concept, shown in zip(dossier.concepts, others, strict=True)
    ]
    answers = interviewer.put(queries)
    ordering = Ordering(
        source="vision-language model",
        model=interviewer.transcript.model,
        similarity={concept.name: items[0].rating / 100 for concept, items in zip(dossier.concepts, answers, strict=True)},
    )
    told = f"Ordered by {ordering.model}, which saw {LOOKED_AT} base images of the target and of each concept."
    return _with_ordering(dossier, ordering, [told, *asked_for(interviewer)])


def order_by_asking(dossier: Dossier, interviewer: Interviewer, repeats: int) -> Dossier:
    """The dossier with the ordering of a language model, which rates and ranks its concepts `repeats` times each.

    The concepts keep the similarity that they have: it decides which of them are tested.
    """
    names = [concept.name for concept in dossier.concepts]
    similarity = assess(interviewer, about(dossier), names, repeats)
    ordering = ordering_of(interviewer.transcript.model, similarity, names)
    told = f"Ordered by {ordering.model}, which rated and ranked the concepts {repeats} times each."
    return _with_ordering(dossier, ordering, [told, *asked_for(interviewer)])


def _with_ordering(dossier: Dossier, ordering: Ordering, told: Sequence[str]) -> Dossier:
    kept = tuple(known for known in dossier.orderings if known.source != ordering.source)
    return with_found(dossier, list(dossier.adversarial), told, (*kept, ordering))


def _pictures(engine: Engine, prompts: Sequence[Sequence[str]]) -> list[tuple[bytes, ...]]:
    """For each list of prompts, LOOKED_AT base images of its prompts in turn, as PNG files."""
    asked = [requests_for("base", list(texts), LOOKED_AT, audit_seed=0) for texts in prompts]
    engine.ensure([request for requests in asked for request in requests])
    return [tuple(map(_png, engine.images(requests))) for requests in asked]


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()
