"""What was asked and answered, kept line by line: an interview that stopped goes on from here, and can be replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.language_models.protocol import Answer, LanguageModel, Question

FORMAT = 1


class Transcript:
    """Answers of one language model, in a file of JSON lines. Each is written down as soon as it is there.

    Without a `model` nothing is asked: a question that the file does not hold is a UsageError.
    """

    def __init__(self, path: Path, model: LanguageModel | None) -> None:
        self.path = path
        self._model = model
        self._known: dict[str, Answer] = {}
        self._used: dict[str, Answer] = {}
        self._conceded: list[str] = []
        self._torn = False  # whether the file ends in half a line
        header: dict[str, Any] = {}
        for line in self._lines():
            if "key" in line:
                self._known[line["key"]] = Answer(line["text"], line["tokens_in"], line["tokens_out"], line["end"])
            elif "conceded" in line:
                self._conceded.append(str(line["conceded"]))
            elif "format" in line:
                header = line
        named = (model.backend, model.model) if model else (header.get("backend"), header.get("model"))
        if header and (header.get("backend"), header.get("model")) != named:
            raise UsageError(
                f"{path} holds the answers of another language model",
                f"of {header.get('model')!r}",
                "name another output, or move the transcript away",
            )
        if not header and model is None:
            raise UsageError(f"{path} is no transcript", "it has no line that names a model", "give one that a build left behind")
        self._begun = bool(header)  # a transcript is of a model once that has answered
        if not header:
            header = {"format": FORMAT, "backend": named[0], "model": named[1], "date": time.strftime("%Y-%m-%d", time.gmtime())}
        self._header = header
        self.backend, self.model, self.date = (str(header.get(name, "")) for name in ("backend", "model", "date"))

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, those that are known from the file and the others from the model."""
        keys = [question.key(self.model) for question in questions]
        missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._known}
        if missing and self._model is None:
            raise UsageError(
                f"the transcript {self.path} does not hold all answers",
                f"{len(missing)} of {len(keys)} questions are not in it: it is of another interview, or was stopped early",
                "repeat it with the target, --base, --seed, --temperature and --repeats of that interview, or give the language "
                "model itself with --llm=…",
            )
        if missing:
            assert self._model is not None
            asked = list(missing)
            for place, answer in self._model.ask(list(missing.values())):
                self._known[asked[place]] = answer
                entry = {"key": asked[place], "text": answer.text, "end": answer.end}
                self._append(entry | {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out})
            for sentence in self._model.unsupported_parameters:
                if sentence not in self._conceded:
                    self._conceded.append(sentence)
                    self._append({"conceded": sentence})
        self._used |= {key: self._known[key] for key in keys}
        return [self._known[key] for key in keys]

    def known(self, questions: Sequence[Question]) -> int:
        """How many of the questions need not be asked any more."""
        return sum(question.key(self.model) in self._known for question in questions)

    @property
    def unsupported_parameters(self) -> list[str]:
        """What the model's server does not take, as it was when the answers came."""
        return list(self._conceded)

    def release(self) -> None:
        """Let the model give back its memory."""
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
        self._torn = bool(data) and not data.endswith(b"\n")
        for line in data.split(b"\n"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the last line of a build that was killed
            if isinstance(value, dict) and (_whole(value) if "key" in value else "format" in value or "conceded" in value):
                yield value

    def _append(self, value: dict[str, Any]) -> None:
        lines = [value] if self._begun else [self._header, value]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write((b"\n" if self._torn else b"") + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            self._torn, self._begun = False, True
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}", error.strerror or str(error), "free space or name another place"
            ) from None


def _whole(value: dict[str, Any]) -> bool:
    numbers = all(isinstance(value.get(name), int) for name in ("tokens_in", "tokens_out"))
    return numbers and all(isinstance(value.get(name), str) for name in ("key", "text", "end"))
