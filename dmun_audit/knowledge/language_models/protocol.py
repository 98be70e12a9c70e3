"""What a language model is to the rest of the package: something that answers questions. Its word is never trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dmun_audit._util.hashing import digest, digest_bytes

MAXIMUM_ANSWER_BYTES = 200_000  # of one answer's text; the longest that the interview asks for stays far below


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. `images` are PNG files, shown before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Question:
    """A conversation that waits for its next turn, the JSON Schema of the answer, and how to sample it."""

    messages: tuple[Message, ...]
    schema: dict[str, Any] = field(hash=False)
    temperature: float
    seed: int
    max_tokens: int

    def key(self, model: str) -> str:
        """SHA-256 of all that decides the answer of `model`: by it a transcript knows the question again."""
        turns = [[turn.role, turn.text, [digest_bytes(image) for image in turn.images]] for turn in self.messages]
        return digest([model, turns, self.schema, self.temperature, self.seed, self.max_tokens])


@dataclass(frozen=True)
class Answer:
    """What came back. `end` says why it ends there: only a "stop" is a whole answer."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    end: Literal["stop", "length", "refusal", "too large"] = "stop"


@dataclass(frozen=True)
class Settings:
    """How a language model is asked: `timeout` in seconds for one answer, questions at once, quantisation of local weights."""

    timeout: float = 300.0
    concurrency: int = 4
    batch: int = 4
    quantize: Literal["none", "4bit", "8bit"] = "none"


class LanguageModel(Protocol):
    """A model that answers. `backend` and `model` name it in the provenance of a dossier."""

    backend: str
    model: str

    @property
    def unsupported_parameters(self) -> list[str]:
        """What had to be left out of the questions, in whole sentences, for the provenance."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Answer every question, yielding each answer with its question's position as soon as it is there.

        Raises UsageError where no answer can be had; answers that came before are yielded first.
        """
        ...

    def release(self) -> None:
        """Give back memory and connections. The next `ask` opens them again."""
        ...
