"""What one server accepts of the protocol, and the body of a chat-completions request in that format. Pure functions."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from typing import Any

from dmun_audit.knowledge.language_models.over_http.error_wordings import PARAMETERS, PLAINER, STREAM
from dmun_audit.knowledge.language_models.over_http.schemas import keywords, without_keywords
from dmun_audit.knowledge.language_models.protocol import Message, Question

RESPONSE_FORMATS = ("json_schema", "json_object", "none")  # from the strictest
FEWEST_TOKENS = 250  # an answer with fewer cannot hold what is asked for


@dataclass(frozen=True)
class RequestFormat:
    """What a server accepts: the whole protocol until it refuses a part.

    `answer_limit` is the most tokens that the server allows in any answer. `schema_without` holds keywords that it does not know in
    a JSON Schema. `stream` is "usage", "plain" (a stream without its usage) or "none". `schema_ignored` tells that the server
    took a schema and did not keep to it.
    """

    response_format: str = RESPONSE_FORMATS[0]
    answer_limit: int = 2**20
    length_parameter: str = "max_tokens"
    left_out: frozenset[str] = frozenset()
    schema_without: frozenset[str] = frozenset()
    stream: str = "usage"
    schema_ignored: bool = False

    def plainer(self) -> RequestFormat | None:
        """The format that promises less about the form of answers. None if this one promises nothing."""
        if self.response_format == RESPONSE_FORMATS[-1]:
            return None
        return replace(self, response_format=RESPONSE_FORMATS[RESPONSE_FORMATS.index(self.response_format) + 1])

    def schema_of(self, question: Question) -> dict[str, Any]:
        """The question's schema with the keywords that the server knows."""
        schema: dict[str, Any] = (
            without_keywords(question.schema, self.schema_without) if self.schema_without else question.schema
        )
        return schema

    def without_refused_part(self, words: str, question: Question) -> RequestFormat | None:
        """The format without the part that the server's words (in lower case) name. None if they name none to leave out."""
        if "max_completion_tokens" in words and self.length_parameter == "max_tokens":
            return replace(self, length_parameter="max_completion_tokens")
        for name in PARAMETERS:
            if re.search(rf"\b{name}\b", words) and name not in self.left_out:
                stream = "plain" if name == "stream_options" else self.stream
                return replace(self, left_out=self.left_out | {name}, stream=stream)
        if STREAM.search(words) and self.stream != "none":
            return replace(self, stream="none")
        if self.response_format == "json_schema":
            refused = {
                name for name in keywords(self.schema_of(question)) if re.search(rf"\b{re.escape(name.casefold())}\b", words)
            }
            refused |= {name for name in ("$ref", "$defs") if name in words and name in keywords(self.schema_of(question))}
            if refused - {"required"}:
                return replace(self, schema_without=self.schema_without | (refused - {"required"}))
        return self.plainer() if PLAINER.search(words) else None

    @property
    def unsupported_parameters(self) -> list[str]:
        """The parameters left out, in whole sentences, for the provenance of a dossier."""
        left_out = sorted(self.left_out - {"stream_options", "strict"})
        sentences = [f"The server does not take the parameter {name}." for name in left_out]
        if self.response_format != "json_schema" and not self.schema_ignored:
            sentences.append("The server does not take response_format json_schema; answers were validated here alone.")
        return sentences


def chat_body(accepted: RequestFormat, model: str, question: Question, max_tokens: int) -> dict[str, Any]:
    """The body of a chat-completions request in the format that the server accepts."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_turn(message) for message in question.messages],
        "temperature": question.temperature,
        "seed": question.seed,
        accepted.length_parameter: max_tokens,
    }
    if accepted.response_format == "json_schema":
        schema = {"name": "answer", "schema": accepted.schema_of(question), "strict": True}
        schema = {name: value for name, value in schema.items() if name not in accepted.left_out}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif accepted.response_format == "json_object":
        body["response_format"] = {"type": "json_object"}
    if accepted.stream != "none":
        body["stream"] = True
    if accepted.stream == "usage":
        body["stream_options"] = {"include_usage": True}
    return {name: value for name, value in body.items() if name not in accepted.left_out}


def with_options(body: dict[str, Any], options: Any) -> dict[str, Any]:
    """The body with the user's further fields, which override its own; a field that is None is left out."""
    return {name: value for name, value in {**body, **options}.items() if value is not None or name not in options}


def image_url(image: bytes) -> str:
    """A PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def _turn(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    images = [{"type": "image_url", "image_url": {"url": image_url(image)}} for image in message.images]
    return {"role": message.role, "content": [*images, {"type": "text", "text": message.text}]}
