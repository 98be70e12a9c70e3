"""How a question is put to one server: chat completions as that server takes them. Pure: requests in, requests out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

from dmun_audit.knowledge.language_models.protocol import Message, Question

FORMATS = ("json_schema", "json_object", "none")
FEWEST_TOKENS = 250  # an answer with less room says nothing
_ABOUT_LENGTH = ("max_tokens", "max_completion_tokens", "completion tokens", "max_new_tokens")
_TOO_LONG = ("too large", "at most", "range", "less than", "maximum", "exceed")
_ABOUT_FORMAT = ("response_format", "schema", "json", "strict", "grammar")


@dataclass(frozen=True)
class RequestFormat:
    """What a server takes; the whole protocol until it complains. `format` counts in FORMATS, from the strictest; `room` is the
    most tokens asked for in one answer."""

    format: int = 0
    room: int = 2**20
    length_key: str = "max_tokens"
    unwanted: frozenset[str] = frozenset()

    def body(self, model: str, question: Question) -> dict[str, Any]:
        """The body of a request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [_turn(message) for message in question.messages],
            "temperature": question.temperature,
            "seed": question.seed,
            self.length_key: min(question.max_tokens, self.room),
        }
        if FORMATS[self.format] == "json_schema":
            named = {"name": "answer", "schema": question.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif FORMATS[self.format] == "json_object":
            body["response_format"] = {"type": "json_object"}
        return {name: value for name, value in body.items() if name not in self.unwanted}

    def shorter(self, complaint: str, question: Question) -> RequestFormat | None:
        """A request_format of shorter answers, where a server complains of the length of its context; None where that is not it."""
        told = complaint.casefold()
        room = min(question.max_tokens, self.room) // 2
        about_context = "context" in told and any(word in told for word in ("length", "window", "tokens", "size"))
        about_answer = any(word in told for word in _ABOUT_LENGTH) and any(word in told for word in _TOO_LONG)
        about_length = about_context or about_answer
        return replace(self, room=room) if about_length and room >= FEWEST_TOKENS else None

    def without(self, complaint: str) -> RequestFormat | None:
        """A plainer request_format that leaves out what an older or stricter server complains of; None where it is something else."""
        told = complaint.casefold()
        if "max_completion_tokens" in told and self.length_key == "max_tokens":
            return replace(self, length_key="max_completion_tokens")
        for name in ("seed", "temperature"):
            if name in told and name not in self.unwanted:
                return replace(self, unwanted=self.unwanted | {name})
        if any(word in told for word in _ABOUT_FORMAT) and self.format < len(FORMATS) - 1:
            return replace(self, format=self.format + 1)
        return None

    @property
    def unsupported_parameters(self) -> list[str]:
        """What is left out, in whole sentences, for the provenance."""
        found = [f"The server does not take the parameter {name}." for name in sorted(self.unwanted)]
        if self.format:
            found.append("The server does not take response_format json_schema; answers were validated here alone.")
        return found


def _turn(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    pictures = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(image).decode()}}
        for image in message.images
    ]
    return {"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]}
