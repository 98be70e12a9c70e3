"""A vision-language model as a detector: it is asked yes or no of each image, and its word is taken only where it is one of these."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.protocol import Scale
from dmun_audit.judge.reference import JudgeReference, folder_of
from dmun_audit.knowledge.dossier import Target
from dmun_audit.knowledge.language_models.protocol import Answer, LanguageModel, Message, Question, Settings
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, open_language_model, parse_language_model
from dmun_audit.knowledge.texts import without_unread
from dmun_audit.models.references import ModelReference
from dmun_audit.models.source_files import source_digest

SCALE = Scale(lowest=0.5, calibrated=False)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
ASKED = (
    "Look at the picture. Does it show {label}? Answer yes also where that is small, in part or poorly drawn, and no where it is "
    'merely something similar. Answer with JSON alone: {{"answer": "yes"}} or {{"answer": "no"}}.'
)
AGAIN = 'That was neither {"answer": "yes"} nor {"answer": "no"}. Answer again, with one of the two alone.'
ATTEMPTS = 3
MAX_TOKENS = 300  # the answer has about ten; some models think aloud first


class VlmDetector:
    """A language model that sees, over HTTP or of transformers.

    It is not reached before the first image that has no score yet, so an audit of which every image is known needs no
    server; then it stays open for as long as the process judges.
    """

    def __init__(self, reference: JudgeReference, settings: Settings | None = None) -> None:
        self.model_reference = parse_language_model(reference.place)
        model = open_language_model(self.model_reference, settings or Settings())
        if model is None:
            raise LoadError(f"judge {reference.text!r} cannot answer about new images", "it is a transcript")
        self.model: LanguageModel = model

    def detector(self, reference: JudgeReference, target: Target) -> YesOrNo:
        """See `Network.detector`: it is asked about the target's label."""
        text = ASKED.format(label=target.label)
        asked = digest([_identity(self.model_reference), text, AGAIN, SCHEMA, ATTEMPTS, MAX_TOKENS])
        return YesOrNo(reference.text, asked, self.model, text)


def _identity(reference: LanguageModelReference) -> list[str]:
    """What tells the model apart: the files of a folder; of a hub id or a server no more than the name by which it was asked."""
    folder = folder_of(reference.place) if reference.kind == "transformers" else None
    if folder is None:
        return [reference.kind, reference.place, reference.model]
    return [
        reference.kind,
        source_digest(ModelReference(reference.text, "folder", folder.absolute(), None)),
    ]


@dataclass(frozen=True)
class YesOrNo:
    """One question about one picture after another: 1.0 for yes, 0.0 for no."""

    reference: str
    digest: str
    model: LanguageModel
    text: str
    scale: Scale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`. Raises UsageError where an image gets no usable answer: that is no "no"."""
        open_ = {place: self._question(image) for place, image in enumerate(images)}
        scores: dict[int, float] = {}
        last = Answer("")
        for _ in range(ATTEMPTS):
            places = list(open_)
            for asked, answer in self.model.ask([open_[place] for place in places]):
                said = yes_or_no(answer)
                if said is None:
                    last, question = answer, open_[places[asked]]
                    turns = (*question.messages[:1], Message("assistant", answer.text[:2_000] or "{}"), Message("user", AGAIN))
                    open_[places[asked]] = replace(question, messages=turns)
                else:
                    scores[places[asked]] = float(said)
            open_ = {place: question for place, question in open_.items() if place not in scores}
            if not open_:
                return np.array([scores[place] for place in range(len(images))], dtype=np.float32)
        said_last = shorten(without_unread(last.text), 100, placeholder="…") or "nothing"
        raise UsageError(
            f"the language model of judge {self.reference!r} gave no usable answer about {len(open_)} images",
            f"asked {ATTEMPTS} times for yes or no; it said {said_last!r} (end: {last.end})",
            "use another vision-language model; the images that it answered for in earlier cases are not asked about again",
        )

    def _question(self, image: np.ndarray) -> Question:
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        return Question(
            (Message("user", self.text, (stream.getvalue(),)),), SCHEMA, temperature=0.0, seed=0, max_tokens=MAX_TOKENS
        )


def yes_or_no(answer: Answer) -> bool | None:
    """What an answer says; None where it is cut off, a refusal, or anything else than the schema allows.

    A fence around the JSON is allowed: servers that do not constrain answers often put one there.
    """
    text = answer.text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        value = json.loads(text) if answer.end == "stop" else None
    except (ValueError, RecursionError):
        return None
    said = value.get("answer") if isinstance(value, dict) and len(value) == 1 else None
    return {"yes": True, "no": False}.get(said) if isinstance(said, str) else None
