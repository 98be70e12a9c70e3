"""Questions and answers kept in a file, line by line: an interview that stopped goes on from it, and can be replayed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.language_models.additions import options_in_words
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.protocol import Answer, AskedOverHttp, LanguageModel, LoadsWeights, Question

_LOG = logging.getLogger(__name__)
FORMAT = 1


class Progress(Protocol):
    """Learns how far the questions have come, while they are open."""

    def begin(self, kept: int, asked: int) -> None:
        """`kept` more answers came from the file, and `asked` questions are open from now on."""
        ...

    def answered(self, answer: Answer) -> None:
        """One of the open questions is answered."""
        ...


class Transcript:
    """The answers of one language model, in a file of JSON lines. Each answer is written as soon as it arrives.

    Without a `model` nothing is asked: a question whose answer the file does not hold is a UsageError. `options` are the fields that
    the user adds to every question; the answers of one file belong to one set of them. `progress` learns of every answer.
    """

    def __init__(self, path: Path, model: LanguageModel | None, options: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.progress: Progress | None = None
        self._model = model
        self._answers: dict[str, Answer] = {}
        self._used: dict[str, Answer] = {}
        self._asked = 0
        self._seconds: dict[str, float] = {}
        self._unsupported: list[str] = []
        self._ends_in_half_a_line = False
        header: dict[str, Any] = {}
        for line in self._lines():
            if "key" in line:
                self._answers[line["key"]] = Answer(line["text"], line["tokens_in"], line["tokens_out"], line["end"])
                if isinstance(line.get("seconds"), int | float):
                    self._seconds[line["key"]] = float(line["seconds"])
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
        kept_options = header["options"] if isinstance(header.get("options"), dict) else {}
        own_options = dict(options or {}) if model else kept_options
        if header and kept_options != own_options:
            raise UsageError(
                f"{path} holds answers that came with other options than these",
                f"they came with {options_in_words(kept_options)}",
                "give the same options, name another output, or move the transcript away",
            )
        self.options: dict[str, Any] = own_options
        if not header and model is None:
            raise UsageError(f"{path} is no transcript", "no line in it names a model", "give one that `dossier build` wrote")
        self._has_header = bool(header)  # the header is written with the first answer
        if not header:
            date = time.strftime("%Y-%m-%d", time.gmtime())
            header = {"format": FORMAT, "backend": identity[0], "model": identity[1], "date": date}
            header |= {"options": own_options} if own_options else {}
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
        if self.progress:
            used = sum(key not in self._used for key in {*keys} - {*unanswered})
            self.progress.begin(used, len(unanswered))
        if unanswered and self._model is not None:
            self._asked += len(unanswered)  # before an error that ends the questions: they were not all in the file
            self._ask_model(self._model, unanswered)
        self._used |= {key: self._answers[key] for key in keys}
        return [self._answers[key] for key in keys]

    def ask_aside(self, question: Question, refuse: Callable[[Answer], UsageError | None]) -> tuple[Answer, float]:
        """The answer to a question about the model itself, and the seconds that it took.

        It is kept in the file, so that it is asked once, but `facts` does not count it: no dossier is made of it. `refuse` gives the
        error for an answer that is of no use: such a one is not kept, and one that the file holds is not used. Raises that error,
        and UsageError as `ask` does.
        """
        kept = self.kept_aside(question, refuse)
        if kept:
            return kept
        if self._model is None:
            raise UsageError(f"the transcript {self.path} does not hold that answer", "", "give the language model itself")
        if isinstance(self._model, LoadsWeights):
            self._model.load()  # loading does not count as the model's speed
        key = question.key(self.model)
        self._answers.pop(key, None)
        started = time.monotonic()
        progress, self.progress = self.progress, None
        try:
            self._ask_model(self._model, {key: question}, started, refuse)
        finally:
            self.progress = progress
        return self._answers[key], self._seconds[key]

    def kept_aside(self, question: Question, refuse: Callable[[Answer], UsageError | None]) -> tuple[Answer, float] | None:
        """What `ask_aside` gives without asking; None if the file holds no answer that is of use."""
        key = question.key(self.model)
        if key not in self._answers or key not in self._seconds or refuse(self._answers[key]):
            return None
        return self._answers[key], self._seconds[key]

    def _ask_model(
        self,
        model: LanguageModel,
        questions: dict[str, Question],
        started: float | None = None,
        refuse: Callable[[Answer], UsageError | None] = lambda answer: None,
    ) -> None:
        """Ask the questions, given by key, and keep every answer, with the seconds since `started` if that is given.

        Raises the error that `refuse` gives for an answer, which is not kept then.
        """
        keys = list(questions)
        for index, answer in model.ask(list(questions.values())):
            error = refuse(answer)
            if error:
                raise error
            self._answers[keys[index]] = answer
            entry: dict[str, Any] = {"key": keys[index], "text": answer.text, "end": answer.end}
            entry |= {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out}
            if started is not None:
                self._seconds[keys[index]] = round(time.monotonic() - started, 3)
                entry |= {"seconds": self._seconds[keys[index]]}
            self._append(entry)
            if self.progress:
                self.progress.answered(answer)
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
    def kept(self) -> int:
        """The number of answers that the file holds, without those about the model itself."""
        return sum(key not in self._seconds for key in self._answers)

    @property
    def was_complete(self) -> bool:
        """Whether every answer that was used so far, and there is one, was in the file before."""
        return bool(self._used) and not self._asked

    @property
    def replays(self) -> bool:
        """Whether there is no model behind the file."""
        return self._model is None

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint of a model over HTTP, or None."""
        return self._model.endpoint if isinstance(self._model, AskedOverHttp) else None

    def note_schema_ignored(self) -> None:
        """Tell a model over HTTP that its server took a schema and did not keep to it."""
        if isinstance(self._model, AskedOverHttp):
            self._model.note_schema_ignored()

    @property
    def sentences(self) -> list[str]:
        """The options that the answers used so far came with, and the parameters that the model ignored, for the provenance.

        Each is a whole sentence. The first names its answers by their digest: a dossier may hold answers with other options too.
        """
        if not self.options or not self._used:
            return list(self._unsupported)
        own = f"The answers of {self.model} with the SHA-256 {self._digest[:12]} came with {options_in_words(self.options)}."
        return [own, *self._unsupported]

    @property
    def _digest(self) -> str:
        """The digest of all answers used so far."""
        return digest([[key, self._used[key].text] for key in sorted(self._used)])

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
            "transcript": self._digest,
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
