"""Answers in chat completions, whole or as a stream: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from typing import Any

from dmun_audit.knowledge.language_models.over_http.answer_reading import AnswerReading, count
from dmun_audit.knowledge.language_models.over_http.faults import Refused
from dmun_audit.knowledge.language_models.over_http.server_errors import read_error


class ChatReading(AnswerReading):
    """An answer of chat completions. What a model thinks (`reasoning_content`, `reasoning`) is no part of its text."""

    def _take(self, value: Any) -> None:
        usage = value.get("usage") or {}
        if usage:
            self._tokens = (count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))
        choices = value.get("choices") or []
        if not choices and value.get("promptFeedback"):  # Gemini says so that it blocked the question
            raise Refused(read_error(400, {}, json.dumps(value["promptFeedback"]).encode(), self._hide))
        if not choices and not self._events:
            raise KeyError("choices")  # an event of a stream may have none
        for choice in choices[:1]:
            self._known = True
            message = choice["delta"] if "delta" in choice else choice["message"]
            self._add_text((message or {}).get("content"), self._texts)
            self._add_text((message or {}).get("refusal"), self._refusals)
            self._finish = str(choice.get("finish_reason") or self._finish)
