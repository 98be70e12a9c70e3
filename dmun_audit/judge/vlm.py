"""Vision-language models as detectors. The model answers one question about each image with yes or no."""

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
from dmun_audit.judge.detector_kind import DetectorKind
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.judge.reference import JudgeReference, local_path, looks_like_path
from dmun_audit.knowledge.dossier import Target
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.protocol import Answer, LanguageModel, Message, Question, Settings
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, open_language_model, parse_language_model
from dmun_audit.knowledge.words.texts import without_hidden_characters
from dmun_audit.models.references import ModelReference
from dmun_audit.models.source_files import source_digest

SCALE = ScoreScale(lowest=0.5, calibrated=False)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
PROMPT = (
    "Look at the picture. Does it show {label}? Answer yes also where that is small, in part or poorly drawn, and no where it is "
    'merely something similar. Answer with JSON alone: {{"answer": "yes"}} or {{"answer": "no"}}.'
)
REPEAT_PROMPT = 'That was neither {"answer": "yes"} nor {"answer": "no"}. Answer again, with one of the two alone.'
ATTEMPTS = 3
MAX_TOKENS = 300  # the answer has about ten; some models write their reasoning first


class VlmNetwork:
    """A vision-language model, over HTTP or of transformers.

    It is reached at the first image without a score. So an audit with all scores in the store needs no server.
    """

    def __init__(self, reference: JudgeReference, settings: Settings | None = None) -> None:
        self.model_reference = parse_language_model(reference.source)
        model = open_language_model(self.model_reference, settings or Settings(), Additions(sees_images=True))
        if model is None:
            raise LoadError(f"judge {reference.text!r} cannot answer about new images", "it is a transcript")
        self.model: LanguageModel = model

    def detector(self, reference: JudgeReference, target: Target) -> VlmDetector:
        """See `Network.detector`. The question names the target's label."""
        prompt = PROMPT.format(label=target.label)
        own_digest = digest([_identity(self.model_reference), prompt, REPEAT_PROMPT, SCHEMA, ATTEMPTS, MAX_TOKENS])
        return VlmDetector(reference.text, own_digest, self.model, prompt)


@dataclass(frozen=True)
class VlmDetector:
    """A vision-language model with its question. The score is 1.0 for yes and 0.0 for no."""

    reference: str
    digest: str
    model: LanguageModel
    prompt: str
    scale: ScoreScale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`. Raises UsageError where an image gets no usable answer: that does not count as "no"."""
        questions = {position: self._question(image) for position, image in enumerate(images)}
        scores: dict[int, float] = {}
        unusable = Answer("")
        for _ in range(ATTEMPTS):
            positions = list(questions)
            for place, answer in self.model.ask([questions[position] for position in positions]):
                position, shown = positions[place], yes_or_no(answer)
                if shown is None:
                    unusable = answer
                    questions[position] = _repeated(questions[position], answer)
                else:
                    scores[position] = float(shown)
            questions = {position: question for position, question in questions.items() if position not in scores}
            if not questions:
                return np.array([scores[position] for position in range(len(images))], dtype=np.float32)
        last_answer = shorten(without_hidden_characters(unusable.text), 100, placeholder="…") or "nothing"
        raise UsageError(
            f"the language model of judge {self.reference!r} gave no usable answer about {len(questions)} images",
            f"after {ATTEMPTS} attempts its last answer was {last_answer!r} (end: {unusable.end})",
            "use another vision-language model; images that it scored in earlier cases keep their scores",
        )

    def _question(self, image: np.ndarray) -> Question:
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        message = Message("user", self.prompt, (stream.getvalue(),))
        return Question((message,), SCHEMA, temperature=0.0, seed=0, max_tokens=MAX_TOKENS)


def yes_or_no(answer: Answer) -> bool | None:
    """Whether an answer is yes; None for an answer that is cut off, a refusal, or outside the schema.

    A Markdown fence around the JSON is allowed: servers that do not constrain answers often add one.
    """
    text = answer.text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        value = json.loads(text) if answer.end == "stop" else None
    except (ValueError, RecursionError):
        return None
    word = value.get("answer") if isinstance(value, dict) and len(value) == 1 else None
    return {"yes": True, "no": False}.get(word) if isinstance(word, str) else None


def _repeated(question: Question, answer: Answer) -> Question:
    """The question with the unusable answer and the request to answer again, in place of earlier repetitions."""
    turns = (*question.messages[:1], Message("assistant", answer.text[:2_000] or "{}"), Message("user", REPEAT_PROMPT))
    return replace(question, messages=turns)


def _identity(reference: LanguageModelReference) -> list[str]:
    """What identifies the model: the digest of a local folder's files; of a hub id or a server, its name alone."""
    folder = local_path(reference.place) if reference.kind == "transformers" else None
    if folder is None:
        return [reference.kind, reference.place, reference.model]
    model = ModelReference(reference.text, "folder", folder.absolute(), None)
    return [reference.kind, source_digest(model)]


def _check(reference: JudgeReference) -> None:
    try:
        model = parse_language_model(reference.source)
    except UsageError as error:
        raise LoadError(f"judge {reference.text!r}: {error.what}", error.why, error.remedy) from None
    if model.kind == "http" and not model.model:
        raise LoadError(
            f"judge {reference.text!r} does not say which model to ask",
            "its scores are kept under the model's name",
            f"write {reference.text}MODEL" if model.provider else f"write {reference.text}#MODEL",
        )
    if model.kind == "transcript":
        raise LoadError(
            f"judge {reference.text!r} names a transcript", "it cannot answer about new images", "name the language model itself"
        )
    if model.kind == "transformers" and looks_like_path(model.place) and local_path(model.place) is None:
        raise LoadError(f"judge {reference.text!r}: there is no folder {model.place}", "", "check the path")


KIND = DetectorKind(
    "vlm",
    "vlm:LANGUAGE-MODEL",
    check=_check,
    open=lambda reference, models: VlmNetwork(reference),
    has_query=False,  # "#" belongs to the reference of a language model
)
