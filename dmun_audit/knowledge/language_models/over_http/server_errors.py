"""What a server says instead of an answer, read from its status, its headers and its body. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dmun_audit.knowledge.language_models.over_http.faults import ServerError
from dmun_audit.knowledge.language_models.over_http.pauses import asked_pause

_LONGEST_MESSAGE = 300  # characters that people are shown
_LONGEST_WORDS = 8_000  # characters that are compared with known wordings
_READ = 100_000  # bytes of an error's body that are read
_STATUS_OF = {  # of errors in a reply with status 200, by their type or code
    "rate_limit": 429,
    "insufficient_quota": 429,
    "overloaded": 529,
    "invalid_request": 400,
    "badrequest": 400,
    "context_length": 400,
    "exceed_context": 400,
    "content_filter": 400,
    "validation": 422,
    "authentication": 401,
    "invalid_api_key": 401,
    "permission": 403,
    "not_found": 404,
}


def read_error(status: int, headers: Mapping[str, str], body: bytes, hide: Callable[[str], str]) -> ServerError:
    """The error in a server's reply; `hide` removes secrets.

    Status 0 stands for an error that came with status 200 or in a stream: its own code decides, else 500.
    """
    text = body[:_READ].decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    is_page = value is text and _is_page(headers.get("Content-Type", ""), text)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    message, said, numbers, code = _parts(value)
    words = hide(said)[:_LONGEST_WORDS].casefold()
    return ServerError(
        status or _status(code, words),
        one_line(hide(message)),
        words,
        numbers,
        asked_pause(headers, words),
        is_page,
        one_line(hide(headers.get("Location", ""))),
    )


def _is_page(kind: str, text: str) -> bool:
    return "text/html" in kind or text.lstrip()[:15].casefold().startswith(("<!doctype html", "<html"))


def _parts(value: Any) -> tuple[str, str, dict[str, Any], Any]:
    """The message for people, all that was said, the integers beside it, and the code of an error's body."""
    if not isinstance(value, dict):
        text = value if isinstance(value, str) else json.dumps(value)
        return text, text, {}, None
    error = value.get("error", value.get("detail", value.get("message", value)))
    if not isinstance(error, dict):
        message = error if isinstance(error, str) else _validation(error)
        beside = [str(value[name]) for name in ("error_type", "type", "code") if isinstance(value.get(name), str)]
        return message, "\n".join([message, *beside]), {}, value.get("code")
    said_first = error.get("message", error.get("detail", error))
    message = said_first if isinstance(said_first, str) else _validation(said_first)
    metadata = _dict(error.get("metadata"))
    raw = _text(metadata.get("raw"))  # OpenRouter: what the provider behind it said
    message = f"{message}: {raw}" if raw else message
    inner = _dict(error.get("innererror"))
    marks = [*(error.get(name) for name in ("code", "type", "status", "param")), inner.get("code"), value.get("error_type")]
    said = [message, *(mark for mark in marks if isinstance(mark, str)), _text(metadata.get("reasons"))]
    numbers = {name: number for name, number in error.items() if isinstance(number, int)}
    return message, "\n".join(part for part in said if part), numbers, error.get("code")


def _validation(value: Any) -> str:
    """Errors of validation (FastAPI, Mistral) without the input that they repeat, which holds the whole question."""
    entries = value.get("detail", value) if isinstance(value, dict) else value
    if isinstance(entries, list) and entries and all(isinstance(entry, dict) and "msg" in entry for entry in entries):
        return "; ".join(f"{'.'.join(map(str, entry.get('loc') or []))}: {entry['msg']}" for entry in entries)
    return json.dumps(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if not value else json.dumps(value)


def _status(code: Any, words: str) -> int:
    """The status of an error that came within a reply: its code if that is a status, else by its words, else 500."""
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return next((status for name, status in _STATUS_OF.items() if name in words.replace(" ", "_")), 500)


def one_line(text: str) -> str:
    """The first 300 characters of `text`, with spaces instead of characters that cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST_MESSAGE].strip()
