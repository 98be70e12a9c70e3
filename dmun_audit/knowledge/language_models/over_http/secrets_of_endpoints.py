"""Removes from texts what an endpoint's requests carry in secret: its key, and the secrets among its headers and parameters."""

from __future__ import annotations

import re
from collections.abc import Callable

from dmun_audit.knowledge.language_models.api_key import ApiKey
from dmun_audit.knowledge.language_models.endpoint import Endpoint

_SECRET_NAMES = re.compile(r"auth|key|token|secret|cookie|password|credential|signature|\bsig\b|code", re.IGNORECASE)
_RANDOM = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[^\s/:]{24,}")  # looks like a key, whatever its header is called


def hider(endpoint: Endpoint) -> Callable[[str], str]:
    """A function that puts "[key]" in the place of every secret of the endpoint."""
    values: list[str] = []
    for name, value in (*endpoint.headers.items(), *endpoint.query.items()):
        if _SECRET_NAMES.search(name) or _RANDOM.fullmatch(value):
            scheme, _, rest = value.strip().partition(" ")
            values += [value.strip(), rest.strip() or scheme]
    keys = [ApiKey(value) for value in sorted(set(values), key=len, reverse=True) if value]

    def hide(text: str) -> str:
        for key in [endpoint.key, *keys]:
            text = key.hide(text)
        return text

    return hide
