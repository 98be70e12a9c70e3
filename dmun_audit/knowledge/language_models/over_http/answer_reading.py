"""What an answer is made of while it arrives, event by event or as a whole, within limits of size and number."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dmun_audit.knowledge.language_models.over_http.faults import Refused, TemporaryFault
from dmun_audit.knowledge.language_models.over_http.server_errors import read_error
from dmun_audit.knowledge.language_models.protocol import MAXIMUM_ANSWER_BYTES, Answer

MAXIMUM_BODY_BYTES = 4 * MAXIMUM_ANSWER_BYTES
_CUT_OFF = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_FILTERED = frozenset(
    {"content_filter", "safety", "prohibited_content", "blocklist", "spii", "recitation", "refusal", "sensitive"}
)


class AnswerReading:
    """One answer that arrives. `hide` removes secrets; after `most_events` events the answer counts as cut off.

    A subclass knows one protocol: its `_take` puts each object of a reply into `_texts`, `_refusals`, `_finish` and `_tokens`.
    """

    def __init__(self, hide: Callable[[str], str], most_events: int) -> None:
        self._hide = hide
        self._most_events = most_events
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._finish = ""
        self._tokens = (0, 0)
        self._bytes = 0
        self._events = 0
        self._ended = False
        self._known = False  # whether anything of the protocol has come
        self.is_done = False
        self.is_given_up = False  # far too long: the rest need not be read

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended; the server may still add its counts."""
        return self.is_done or self._ended or bool(self._finish)

    def add_event(self, data: str) -> None:
        """Take one event of a stream. Raises Refused for an error, TemporaryFault for what is no part of an answer."""
        if data.strip() == "[DONE]":
            self.is_done = True
            return
        self._events += 1
        self._add(data.encode("utf-8", "replace"))
        if self._bytes > MAXIMUM_ANSWER_BYTES:
            self.set_too_large()
        elif self._events >= self._most_events and not self.is_complete:
            self._finish, self.is_done, self.is_given_up = "length", True, True

    def add_whole(self, body: bytes) -> None:
        """Take a reply that is no stream, or a stream that came as a whole. Raises as `add_event` does."""
        if len(body) > MAXIMUM_BODY_BYTES:
            self.set_too_large()
            return
        self._add(body)
        self._ended = True

    def set_too_large(self) -> None:
        """Give the answer up because it is far too long."""
        self._bytes = MAXIMUM_ANSWER_BYTES + 1
        self.is_done = self.is_given_up = self._known = True

    def answer(self) -> Answer:
        """The answer. Raises TemporaryFault if the stream broke off before its end."""
        if not (self._known and self.is_complete):
            raise TemporaryFault(
                "the stream of the answer broke off before its end" if self._known else "the stream held no answer"
            )
        if self._bytes > MAXIMUM_ANSWER_BYTES:
            return Answer("", *self._tokens, "too large")
        text, refusal = self._joined(self._texts), self._joined(self._refusals)
        finish = self._finish.casefold()
        if refusal or finish.partition(":")[0].strip() in _FILTERED:
            return Answer(refusal or text, *self._tokens, "refusal")
        if len(text.encode()) > MAXIMUM_ANSWER_BYTES:
            return Answer("", *self._tokens, "too large")
        return Answer(text, *self._tokens, "length" if finish in _CUT_OFF else "stop")

    def _joined(self, parts: list[str]) -> str:
        """The parts as one text; the halves of a character that came in two events are joined, a half alone is replaced."""
        return self._hide("".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    def _add(self, data: bytes) -> None:
        try:
            value = json.loads(data)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]  # Gemini's errors
            error = _error_in(value)
            if error is not None:
                raise Refused(read_error(0, {}, json.dumps(error).encode(), self._hide))
            self._take(value)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            start = self._hide(data[:2_000].decode("utf-8", "replace"))[:120]
            raise TemporaryFault(f"the server's reply is no chat completion: {start!r}") from None

    def _add_text(self, part: Any, to: list[str]) -> None:
        """Keep a part of the text: a string, None, or a list of parts."""
        if isinstance(part, list):
            part = "".join(str(piece.get("text") or "") for piece in part if piece.get("type", "text") in {"text", "output_text"})
        if part:
            to.append(str(part))
            self._bytes += len(to[-1].encode("utf-8", "replace"))

    def _take(self, value: Any) -> None:
        raise NotImplementedError


def _error_in(value: Any) -> dict[str, Any] | None:
    """The reply if it holds an error: with status 200 (OpenRouter, vLLM) or in the midst of a stream."""
    if not isinstance(value, dict):
        return None
    if value.get("error") or value.get("object") == "error" or value.get("type") == "error":
        return value
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("error"):
        return choices[0]
    return None


def count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0
