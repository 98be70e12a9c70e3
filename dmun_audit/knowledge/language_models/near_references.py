"""What a user may have meant by a text that names no language model: another spelling, a URL without its start, a model's bare name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches

CLOSE = 0.75  # similarity of a mistyped kind with a known one, as difflib measures it
_HOST = re.compile(r"[\w.-]+:\d{2,5}(?P<path>/[^#\s]*)?(?P<model>#\S+)?")
_TAGGED = re.compile(r"[\w.-]*\d[\w.-]*:[\w.-]+")  # llama3.1:8b, as Ollama names models
_SERVICES = {"gpt": "openai", "chatgpt": "openai", "claude": "anthropic", "gemini": "gemini"}


def near_reference(text: str, kinds: Sequence[str]) -> str:
    """The reference that `text` resembles, such as "ollama:llama3.1" for "llama3.1"; "" if it resembles none.

    `kinds` are the words that may stand before the colon. A reference whose rest is unknown ends in "…".
    """
    kind, colon, rest = text.strip().partition(":")
    same = next((known for known in kinds if known.casefold() == kind.casefold()), "")
    if same:
        return f"{same}:{rest or '…'}"
    address = _HOST.fullmatch(text)
    if address:
        url = text.partition("#")[0].rstrip("/")
        return f"http://{url}{'' if (address['path'] or '/') != '/' else '/v1'}{address['model'] or ''}"
    close = get_close_matches(kind.casefold(), kinds, n=1, cutoff=CLOSE)
    if close:
        return f"{close[0]}:{rest or '…'}"
    if colon:
        return f"ollama:{text}" if _TAGGED.fullmatch(text) else ""
    return _with_kind(text) if text.strip() else ""


def _with_kind(name: str) -> str:
    """The reference of a model that is named without a kind."""
    if name.endswith(".jsonl"):
        return f"transcript:{name}"
    if "/" in name or os.path.isdir(name):
        return f"transformers:{name}"
    service = next((service for start, service in _SERVICES.items() if name.casefold().startswith(start)), "ollama")
    return f"{service}:{name}"
