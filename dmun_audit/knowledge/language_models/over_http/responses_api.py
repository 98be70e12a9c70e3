"""OpenAI's Responses API: the body of a request and the answer in its reply, whole or as a stream.

https://platform.openai.com/docs/api-reference/responses. It takes no seed.
"""

from __future__ import annotations

import json
from typing import Any

from dmun_audit.knowledge.language_models.over_http.answer_reading import AnswerReading, count
from dmun_audit.knowledge.language_models.over_http.faults import Refused
from dmun_audit.knowledge.language_models.over_http.request_format import RequestFormat, image_url
from dmun_audit.knowledge.language_models.over_http.server_errors import read_error
from dmun_audit.knowledge.language_models.protocol import Message, Question

NO_SEED = RequestFormat(left_out=frozenset({"seed"}), length_parameter="max_output_tokens")


def responses_body(accepted: RequestFormat, model: str, question: Question, max_tokens: int) -> dict[str, Any]:
    """The body of a request to `/responses` in the format that the server accepts. Nothing is stored at the server."""
    body: dict[str, Any] = {
        "model": model,
        "instructions": "\n\n".join(turn.text for turn in question.messages if turn.role == "system"),
        "input": [_turn(turn) for turn in question.messages if turn.role != "system"],
        "temperature": question.temperature,
        "max_output_tokens": max_tokens,
        "store": False,
    }
    if accepted.response_format == "json_schema":
        form = {"type": "json_schema", "name": "answer", "schema": accepted.schema_of(question), "strict": True}
        body["text"] = {"format": {name: value for name, value in form.items() if name not in accepted.left_out}}
    elif accepted.response_format == "json_object":
        body["text"] = {"format": {"type": "json_object"}}
    if accepted.stream != "none":
        body["stream"] = True
    return {name: value for name, value in body.items() if name not in accepted.left_out}


def _turn(message: Message) -> dict[str, Any]:
    kind = "output_text" if message.role == "assistant" else "input_text"
    images = [{"type": "input_image", "image_url": image_url(image)} for image in message.images]
    return {"role": message.role, "content": [*images, {"type": kind, "text": message.text}]}


class ResponsesReading(AnswerReading):
    """An answer of the Responses API. The last event of a stream holds the whole response."""

    def _take(self, value: Any) -> None:
        kind = str(value.get("type") or "")
        if kind == "response.output_text.delta":
            self._known = True
            self._add_text(value["delta"], self._texts)
        elif kind == "response.refusal.delta":
            self._known = True
            self._add_text(value["delta"], self._refusals)
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            self._take_response(value["response"])
            self.is_done = True
        elif "output" in value or value.get("object") == "response":
            self._take_response(value)
        elif not kind:
            raise KeyError("output")

    def _take_response(self, response: dict[str, Any]) -> None:
        """Take a whole response; its texts replace what the deltas held."""
        if response.get("error"):
            raise Refused(read_error(0, {}, json.dumps({"error": response["error"]}).encode(), self._hide))
        self._known = True
        texts: list[str] = []
        refusals: list[str] = []
        for item in response.get("output") or []:
            if item.get("type") == "message":
                for part in item.get("content") or []:
                    self._add_text(part.get("text"), texts)
                    self._add_text(part.get("refusal"), refusals)
        self._texts, self._refusals = texts or self._texts, refusals or self._refusals
        self._bytes = sum(len(part.encode("utf-8", "replace")) for part in [*self._texts, *self._refusals])
        details = response.get("incomplete_details") or {}
        self._finish = str(details.get("reason") or response.get("status") or "completed")
        usage = response.get("usage") or {}
        self._tokens = (count(usage.get("input_tokens")), count(usage.get("output_tokens")))
