"""What a chat-completions server sends back, made into answers and errors. Pure functions of bytes."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import MAXIMUM_ANSWER_BYTES, Answer

MAXIMUM_BODY_BYTES = 4 * MAXIMUM_ANSWER_BYTES
_LONGEST_MESSAGE = 300  # characters of an error message


class TemporaryFault(Exception):
    """A fault that may pass. `retry_after` is how long the server asks to wait, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after or 0.0


def read_answer(body: bytes, hide: Callable[[str], str]) -> Answer:
    """The answer in a chat completion; `hide` removes secrets from it. Raises TemporaryFault if `body` is no chat completion."""
    if len(body) > MAXIMUM_BODY_BYTES:
        return Answer("", end="too large")
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        text = content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)
        text = hide(text.encode("utf-8", "replace").decode())  # half a surrogate pair cannot be stored
        refusal = hide(str(message.get("refusal") or ""))
        finish = choice.get("finish_reason")
        usage = reply.get("usage") or {}
        tokens = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        start = hide(body[:2_000].decode("utf-8", "replace"))[:120]
        raise TemporaryFault(f"the server's reply is no chat completion: {start!r}") from None
    if refusal or finish == "content_filter":
        return Answer(refusal or text, *tokens, "refusal")
    if len(text.encode()) > MAXIMUM_ANSWER_BYTES:
        return Answer("", *tokens, "too large")
    return Answer(text, *tokens, "length" if finish == "length" else "stop")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def decompressed(body: bytes, encoding: str) -> bytes:
    """A body without its compression, cut one byte beyond MAXIMUM_BODY_BYTES.

    Raises UsageError for an encoding other than gzip and deflate, TemporaryFault for damaged data.
    """
    if encoding.strip().casefold() in {"", "identity"}:
        return body
    if encoding.strip().casefold() not in {"gzip", "deflate"}:
        raise UsageError(
            f"the language model's server sends its answers as {encoding[:40]!r}",
            "the request asks for answers without compression",
            "configure the server to send them so",
        )
    try:
        return zlib.decompressobj(47).decompress(body, MAXIMUM_BODY_BYTES + 1)
    except zlib.error as error:
        raise TemporaryFault(f"the server's reply is damaged: {error}") from None


def error_message(body: bytes, hide: Callable[[str], str]) -> str:
    """The message in an error's body, on one line of at most 300 characters."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        value = json.loads(text)
        error = value.get("error", value.get("detail", value.get("message", value)))
        message = error.get("message", error) if isinstance(error, dict) else error
        text = message if isinstance(message, str) else json.dumps(message)
    except (ValueError, AttributeError, RecursionError):
        pass
    return one_line(hide(text))


def one_line(text: str) -> str:
    """The first 300 characters of `text`, with spaces instead of characters that cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST_MESSAGE].strip()


def retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header: a number or an HTTP date (RFC 9110, §10.2.3). None if it says neither."""
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value or "").timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), 1e9)
