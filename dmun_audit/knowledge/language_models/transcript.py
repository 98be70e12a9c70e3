"""Questions and answers kept in a file, line by line: an interview that stopped goes on from it, and can be replayed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.language_models.protocol import Answer, LanguageModel, Question

_LOG = logging.getLogger(__name__)
FORMAT = 1


class Transcript:
    """The answers of one language model, in a file of JSON lines. Each answer is written as soon as it arrives.

    Without a `model` nothing is asked: a question whose answer the file does not hold is a UsageError.
    """

    def __init__(self, path: Path, model: LanguageModel | None) -> None:
        self.path = path
        self._model = model
        self._answers: dict[str, Answer] = {}
        self._used: dict[str, Answer] = {}
        self._unsupported: list[str] = []
        self._ends_in_half_a_line = False
        header: dict[str, Any] = {}
        for line in self._lines():
            if "key" in line:
                self._answers[line["key"]] = Answer(line["text"], line["tokens_in"], line["tokens_out"], line["end"])
            elif "conceded" in line:
                self._unsupported.append(str(line["conceded"]))
            elif "format" in line:
                header = line
        identity = (model.backend, model.model) if model else (header.get("backend"), header.get("model"))
        if header and (header.get("backend"), header.get("model")) != identity:
            raise UsageError(
                f"{path} holds the answers of another language model",
                f"of {header.get('model')!r}",
                "name another output, or move the transcript away",
            )
        if not header and model is None:
            raise UsageError(f"{path} is no transcript", "no line in it names a model", "give one that `dossier build` wrote")
        self._has_header = bool(header)  # the header is written with the first answer
        if not header:
            date = time.strftime("%Y-%m-%d", time.gmtime())
            header = {"format": FORMAT, "backend": identity[0], "model": identity[1], "date": date}
        self._header = header
        self.backend, self.model, self.date = (str(header.get(name, "")) for name in ("backend", "model", "date"))

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to the questions, from the file or, if it does not hold them, from the model.

        Raises UsageError if an answer can be had from neither.
        """
        keys = [question.key(self.model) for question in questions]
        unanswered = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._answers}
        _LOG.debug("%d questions, %d of them answered in %s", len(keys), len(keys) - len(unanswered), self.path)
        if unanswered and self._model is None:
            raise UsageError(
                f"the transcript {self.path} does not hold all answers",
                f"it lacks {len(unanswered)} of {len(keys)} questions: it is of another interview, or of one that stopped early",
                "repeat it with the target, --base, --seed, --temperature and --repeats of that interview, or give the language "
                "model itself with --llm=…",
            )
        if unanswered and self._model is not None:
            self._ask_model(self._model, unanswered)
        self._used |= {key: self._answers[key] for key in keys}
        return [self._answers[key] for key in keys]

    def _ask_model(self, model: LanguageModel, questions: dict[str, Question]) -> None:
        """Ask the questions, given by key, and keep every answer."""
        keys = list(questions)
        for index, answer in model.ask(list(questions.values())):
            self._answers[keys[index]] = answer
            entry = {"key": keys[index], "text": answer.text, "end": answer.end}
            self._append(entry | {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out})
        for sentence in model.unsupported_parameters:
            if sentence not in self._unsupported:
                self._unsupported.append(sentence)
                self._append({"conceded": sentence})
        missing = sum(key not in self._answers for key in keys)
        if missing:
            raise UsageError(
                f"the language model {self.model!r} left {missing} of {len(keys)} questions without an answer",
                f"its backend {self.backend!r} ended without an error",
                "repeat the command; if it happens again, report it to the authors of that backend",
            )

    def count_answered(self, questions: Sequence[Question]) -> int:
        """The number of questions whose answers the file holds."""
        return sum(question.key(self.model) in self._answers for question in questions)

    @property
    def unsupported_parameters(self) -> list[str]:
        """The parameters of questions that the model ignored when the answers came, in whole sentences."""
        return list(self._unsupported)

    def release(self) -> None:
        """Let the model free its memory."""
        if self._model is not None:
            self._model.release()

    def facts(self) -> dict[str, Any]:
        """Model, number of questions, tokens and the digest of all answers used, for the provenance of a dossier."""
        answers = self._used.values()
        return {
            "backend": self.backend,
            "model": self.model,
            "date": self.date,
            "questions": len(self._used),
            "tokens_in": sum(answer.tokens_in for answer in answers),
            "tokens_out": sum(answer.tokens_out for answer in answers),
            "transcript": digest([[key, self._used[key].text] for key in sorted(self._used)]),
        }

    def _lines(self) -> Iterable[dict[str, Any]]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise UsageError(f"the transcript {self.path} cannot be read", str(error.strerror or error)) from None
        self._ends_in_half_a_line = bool(data) and not data.endswith(b"\n")
        for line in data.split(b"\n"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the last line of a build that was killed
            if isinstance(value, dict) and (_is_answer(value) if "key" in value else "format" in value or "conceded" in value):
                yield value

    def _append(self, value: dict[str, Any]) -> None:
        lines = [value] if self._has_header else [self._header, value]
        text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write((b"\n" if self._ends_in_half_a_line else b"") + text)
        except OSError as error:
            remedy = "free space or name another place"
            raise StoreError(f"cannot write {self.path}", error.strerror or str(error), remedy) from None
        self._ends_in_half_a_line, self._has_header = False, True


def _is_answer(value: dict[str, Any]) -> bool:
    counts = all(isinstance(value.get(name), int) for name in ("tokens_in", "tokens_out"))
    return counts and all(isinstance(value.get(name), str) for name in ("key", "text", "end"))
