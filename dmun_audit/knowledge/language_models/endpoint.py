"""Where and how a language model is asked over HTTP: the URL, the key, and what every request carries besides the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dmun_audit.knowledge.language_models.api_key import ApiKey


@dataclass(frozen=True)
class Endpoint:
    """One model behind a URL that ends before `/chat/completions` (or before `/responses`).

    `headers` and `query` (parameters after "?" in the URL) go with every request, `options` are further fields of every request's
    body. `provider` is the short name that the user gave, such as "ollama", or "" for a URL.
    """

    url: str
    model: str
    api: Literal["chat completions", "responses"] = "chat completions"
    provider: str = ""
    key: ApiKey = field(default_factory=lambda: ApiKey(""))
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
