"""Orderings of a dossier's concepts: by a language model, and by a vision-language model that sees images of the base model."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

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

    The base model of `engine` renders them.
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
        )
        for concept, images in zip(dossier.concepts, concept_images, strict=True)
    ]
    answers = interviewer.collect(requests)
    ordering = Ordering(
        source="vision-language model",
        model=interviewer.transcript.model,
        similarity={concept.name: items[0].rating / 100 for concept, items in zip(dossier.concepts, answers, strict=True)},
    )
    sentence = f"Ordered by {ordering.model}, which saw {IMAGES_SHOWN} base images of the target and of each concept."
    return _with_ordering(dossier, ordering, [sentence, *cost_sentences(interviewer)])


def order_by_knowledge(dossier: Dossier, interviewer: Interviewer, repeats: int) -> Dossier:
    """The dossier with the ordering of a language model, which rates and ranks its concepts `repeats` times each.

    The concepts keep their own similarity, which decides the concepts that an audit tests.
    """
    names = [concept.name for concept in dossier.concepts]
    similarity = assess_similarity(interviewer, target_values(dossier), names, repeats)
    ordering = ordering_of(interviewer.transcript.model, similarity, names)
    times = "once" if repeats == 1 else f"{repeats} times"
    sentence = f"Ordered by {ordering.model}, which rated and ranked the concepts {times} each."
    return _with_ordering(dossier, ordering, [sentence, *cost_sentences(interviewer)])


def _with_ordering(dossier: Dossier, ordering: Ordering, history: Sequence[str]) -> Dossier:
    """The dossier with this ordering instead of an earlier one of the same source and model."""
    others = tuple(other for other in dossier.orderings if key_of(other) != key_of(ordering))
    return updated_dossier(dossier, list(dossier.adversarial), history, (*others, ordering))


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
