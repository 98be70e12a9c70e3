"""The contract of language models. A language model answers questions; the package validates every answer.

Another package adds a language model through an entry point in the group `dmun_audit.language_models`:

    [project.entry-points."dmun_audit.language_models"]
    mycloud = "my_package:open_model"

`open_model` is a `LanguageModelFactory`. With that package installed, `--llm=mycloud:REST` opens `open_model("REST", settings)`;
so do `--vlm`, `--knowledge` and the detector `vlm:mycloud:REST`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.knowledge.language_models.endpoint import Endpoint

MAXIMUM_ANSWER_BYTES = 200_000  # of one answer's text; the longest answer that the interview asks for is far shorter


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. `images` are PNG files, shown before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Question:
    """A conversation that ends with the user's turn, the JSON Schema of the answer, and the sampling settings.

    `max_tokens` limits the length of the answer. Temperature 0 asks for greedy decoding.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any] = field(hash=False)
    temperature: float
    seed: int
    max_tokens: int

    def key(self, model: str) -> str:
        """SHA-256 of everything that decides the answer of `model`. A transcript finds the answer by it."""
        turns = [[turn.role, turn.text, [digest_bytes(image) for image in turn.images]] for turn in self.messages]
        return digest([model, turns, self.schema, self.temperature, self.seed, self.max_tokens])


@dataclass(frozen=True)
class Answer:
    """The text of an answer, its token counts, and why it ended. Only an answer with the end "stop" is complete.

    An answer of more than MAXIMUM_ANSWER_BYTES has the end "too large" and no text.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    end: Literal["stop", "length", "refusal", "too large"] = "stop"


@dataclass(frozen=True)
class Settings:
    """How to run a language model.

    `timeout` is the longest silence of a model in seconds. `max_tokens` limits every answer further, if it is given. `concurrency`
    is the number of questions open at once over HTTP, `batch` the number of questions in a batch of a local model, `quantize` the
    quantization of local weights.
    """

    timeout: float = 300.0
    concurrency: int = 4
    batch: int = 4
    quantize: Literal["none", "4bit", "8bit"] = "none"
    max_tokens: int | None = None


@runtime_checkable
class LanguageModel(Protocol):
    """A model that answers questions. `backend` and `model` name it in the provenance of a dossier."""

    backend: str
    model: str

    @property
    def unsupported_parameters(self) -> list[str]:
        """The parameters of questions that the model ignored so far, in whole sentences, for the provenance."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Answer every question once; yield each answer with the index of its question as soon as it is complete.

        The order is free. A refusal and an answer that was cut off are answers too: `Answer.end` says so. The text need not
        follow the schema. Raises UsageError if no answer can be had, after it has yielded the answers that came before.
        """
        ...

    def release(self) -> None:
        """Free memory and connections. The next `ask` opens them again."""
        ...


@runtime_checkable
class LoadsWeights(Protocol):
    """What a language model may have besides: weights that take time to load."""

    def load(self) -> None:
        """Load the weights, unless they are loaded. The first `ask` does so by itself; then loading counts in its time."""
        ...


@runtime_checkable
class AskedOverHttp(Protocol):
    """What a language model may have besides: a server, which is asked for facts before the first question."""

    endpoint: Endpoint

    def note_schema_ignored(self) -> None:
        """Take note that the server accepts a schema and does not keep to it."""
        ...


class LanguageModelFactory(Protocol):
    """Opens a language model for the entry-point group `dmun_audit.language_models`."""

    def __call__(self, reference: str, settings: Settings, /) -> LanguageModel:
        """The model that `reference` names: the text that follows `NAME:` in `--llm=NAME:REST`, never empty.

        The reference is written into reports and logs, so keys must come from elsewhere. Raises UsageError if it names no model.
        Weights and connections are best opened by the first `ask`: a dossier may turn out to need no answer.
        """
        ...
