"""Orderings of a dossier's concepts: by a language model, and by a vision-language model that sees images of the base model."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence

import numpy as np

from dmun_audit._util.errors import UsageError
from dmun_audit.discover.dossier_updates import cost_sentences, target_values, updated_dossier
from dmun_audit.knowledge.dossier import Dossier, Ordering
from dmun_audit.knowledge.interview.answers import SimilarityRating
from dmun_audit.knowledge.interview.interviewer import Interviewer, ItemRequest
from dmun_audit.knowledge.interview.similarity_questions import assess_similarity, ordering_of
from dmun_audit.knowledge.orderings import key_of
from dmun_audit.plan.case import requests_for
from dmun_audit.render.engine import Engine

IMAGES_SHOWN = 2  # of the target and of a concept, in one question


def image_ordering_budget(dossier: Dossier) -> int:
    """The number of images that `order_by_images` needs."""
    return IMAGES_SHOWN * (1 + len(dossier.concepts))


def order_by_images(dossier: Dossier, engine: Engine, interviewer: Interviewer) -> Dossier:
    """The dossier with the ordering of a vision-language model, which sees base images of the target and of each concept.

    The base model of `engine` renders them. Concepts without a valid rating are not in the ordering; the history names them.
    Raises UsageError if no concept was rated.
    """
    prompts = [dossier.target.direct_prompts, *(concept.prompts for concept in dossier.concepts)]
    target_images, *concept_images = _images(engine, prompts)
    requests = [
        ItemRequest(
            template="look",
            values={"target": dossier.target.name, "concept": concept.name, "shown": IMAGES_SHOWN},
            item_type=SimilarityRating,
            topic=f"how similar {concept.name!r} looks",
            wanted=1,
            minimum=1,
            images=(*target_images, *images),
            max_tokens=200,
            optional=True,
        )
        for concept, images in zip(dossier.concepts, concept_images, strict=True)
    ]
    answers = interviewer.collect(requests)
    rated = {concept.name: items[0].rating / 100 for concept, items in zip(dossier.concepts, answers, strict=True) if items}
    _require_some(rated, interviewer)
    ordering = Ordering(source="vision-language model", model=interviewer.transcript.model, similarity=rated)
    sentence = f"Ordered by {ordering.model}, which saw {IMAGES_SHOWN} base images of the target and of each concept."
    return _with_ordering(dossier, ordering, [sentence, *_missing(dossier, ordering), *_reasons(interviewer)], interviewer)


def order_by_knowledge(dossier: Dossier, interviewer: Interviewer, repeats: int) -> Dossier:
    """The dossier with the ordering of a language model, which rates and ranks its concepts `repeats` times each.

    The concepts keep their own similarity, which decides the concepts that an audit tests. Ratings and rankings count as far as
    they go; the history says what is missing. Raises UsageError if no concept was rated or ranked.
    """
    names = [concept.name for concept in dossier.concepts]
    similarity = assess_similarity(interviewer, target_values(dossier), names, repeats, optional=True)
    _require_some(similarity, interviewer)
    ordering = ordering_of(interviewer.transcript.model, similarity, names)
    times = "once" if repeats == 1 else f"{repeats} times"
    sentence = f"Ordered by {ordering.model}, which rated and ranked the concepts {times} each."
    return _with_ordering(dossier, ordering, [sentence, *_missing(dossier, ordering), *_reasons(interviewer)], interviewer)


def _require_some(similarity: Collection[str], interviewer: Interviewer) -> None:
    """Raise the error of the first request that failed if no concept has a similarity."""
    if not similarity:
        raise next(iter(interviewer.errors), UsageError(f"{interviewer.transcript.model!r} has ordered no concept", "", ""))


def _missing(dossier: Dossier, ordering: Ordering) -> list[str]:
    """A sentence that names concepts without a similarity; nothing if every one has one."""
    lacking = [concept.name for concept in dossier.concepts if concept.name not in ordering.similarity]
    if not lacking:
        return []
    count = "1 concept is" if len(lacking) == 1 else f"{len(lacking)} concepts are"
    return [f"{count} not in the ordering by {ordering.model}: {', '.join(lacking)}."]


def _reasons(interviewer: Interviewer) -> list[str]:
    """For each reason of missing answers a sentence with the topics, each once."""
    topics: dict[str, list[str]] = {}
    for shortfall in interviewer.shortfalls:
        had = f" ({shortfall.had} of {shortfall.wanted})" if shortfall.wanted > 1 else ""
        topics.setdefault(shortfall.why, []).append(f"{shortfall.topic}{had}")
    return [f"Not answered in full: {', '.join(named)}; {why}." for why, named in topics.items()]


def _with_ordering(dossier: Dossier, ordering: Ordering, history: Sequence[str], interviewer: Interviewer) -> Dossier:
    """The dossier with this ordering instead of an earlier one of the same source and model."""
    others = tuple(other for other in dossier.orderings if key_of(other) != key_of(ordering))
    return updated_dossier(dossier, list(dossier.adversarial), [*history, *cost_sentences(interviewer)], (*others, ordering))


def _images(engine: Engine, prompts: Sequence[Sequence[str]]) -> list[tuple[bytes, ...]]:
    """For each list of prompts, IMAGES_SHOWN base images of its prompts in turn, as PNG files."""
    requests = [requests_for("base", list(texts), IMAGES_SHOWN, audit_seed=0) for texts in prompts]
    engine.ensure([request for of_list in requests for request in of_list])
    return [tuple(map(_png, engine.images(of_list))) for of_list in requests]


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()
