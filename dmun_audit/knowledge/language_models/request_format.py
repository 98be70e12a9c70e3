"""The body of a chat-completions request, in the format that one server accepts. Pure: messages in, formats out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

from dmun_audit.knowledge.language_models.protocol import Message, Question

RESPONSE_FORMATS = ("json_schema", "json_object", "none")  # from the strictest
FEWEST_TOKENS = 250  # an answer with fewer cannot hold what is asked for
_LENGTH_PARAMETERS = ("max_tokens", "max_completion_tokens", "completion tokens", "max_new_tokens")
_TOO_LARGE = ("too large", "at most", "range", "less than", "maximum", "exceed")
_FORMAT_WORDS = ("response_format", "schema", "json", "strict", "grammar")


@dataclass(frozen=True)
class RequestFormat:
    """What a server accepts: the whole protocol until it refuses a part.

    `token_limit` is the most tokens asked for in one answer.
    """

    response_format: str = RESPONSE_FORMATS[0]
    token_limit: int = 2**20
    length_parameter: str = "max_tokens"
    left_out: frozenset[str] = frozenset()

    def body(self, model: str, question: Question) -> dict[str, Any]:
        """The body of a request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [_turn(message) for message in question.messages],
            "temperature": question.temperature,
            "seed": question.seed,
            self.length_parameter: min(question.max_tokens, self.token_limit),
        }
        if self.response_format == "json_schema":
            schema = {"name": "answer", "schema": question.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return {name: value for name, value in body.items() if name not in self.left_out}

    def with_shorter_answers(self, message: str, question: Question) -> RequestFormat | None:
        """The format with half as many tokens an answer. None if the server's error message is not about length."""
        message = message.casefold()
        half = min(question.max_tokens, self.token_limit) // 2
        about_context = "context" in message and any(word in message for word in ("length", "window", "tokens", "size"))
        about_answer = any(name in message for name in _LENGTH_PARAMETERS) and any(word in message for word in _TOO_LARGE)
        return replace(self, token_limit=half) if (about_context or about_answer) and half >= FEWEST_TOKENS else None

    def without_refused_parameter(self, message: str) -> RequestFormat | None:
        """The format without the parameter that the server's error message names. None if it names none that can be left out."""
        message = message.casefold()
        if "max_completion_tokens" in message and self.length_parameter == "max_tokens":
            return replace(self, length_parameter="max_completion_tokens")
        for name in ("seed", "temperature"):
            if name in message and name not in self.left_out:
                return replace(self, left_out=self.left_out | {name})
        if any(word in message for word in _FORMAT_WORDS) and self.response_format != RESPONSE_FORMATS[-1]:
            return replace(self, response_format=RESPONSE_FORMATS[RESPONSE_FORMATS.index(self.response_format) + 1])
        return None

    @property
    def unsupported_parameters(self) -> list[str]:
        """The parameters left out, in whole sentences, for the provenance of a dossier."""
        sentences = [f"The server does not take the parameter {name}." for name in sorted(self.left_out)]
        if self.response_format != "json_schema":
            sentences.append("The server does not take response_format json_schema; answers were validated here alone.")
        return sentences


def _turn(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    images = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(image).decode()}}
        for image in message.images
    ]
    return {"role": message.role, "content": [*images, {"type": "text", "text": message.text}]}
