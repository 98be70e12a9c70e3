"""Which values look like secrets, and the removal of an endpoint's secrets from texts. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from dmun_audit.knowledge.language_models.api_key import ApiKey
from dmun_audit.knowledge.language_models.endpoint import Endpoint

_FEWEST_CHARACTERS = 8  # of a secret
_NAME = re.compile(r"auth(?!ors?(?:\b|_))|key|token|secret|passw|cookie|credential|signature|\bsig\b|\bcode\b", re.IGNORECASE)
_START = re.compile(r"(sk|pk|hf|gsk|ghp|xox[a-z]|AIza|eyJ)[-_A-Za-z0-9]{8,}|(Bearer|Basic)\s+\S{6,}", re.IGNORECASE)
_LONG_RUN = re.compile(r"[A-Za-z0-9+/_]{32,}")
_RUN = re.compile(r"[A-Za-z0-9+/_.~-]{16,}")


def looks_secret(name: str, value: str) -> bool:
    """Whether a value looks like a key, by the name it stands under or by its own form."""
    if _NAME.search(name) and len(value) >= _FEWEST_CHARACTERS:
        return True
    return bool(_START.match(value)) or any(map(_is_mixed, _LONG_RUN.findall(value)))


def _may_be_secret(name: str, value: str) -> bool:
    """Whether to hide a value in texts: more than look secret, since hiding too much costs nothing."""
    return bool(_NAME.search(name)) or looks_secret(name, value) or any(map(_is_mixed, _RUN.findall(value)))


def _is_mixed(run: str) -> bool:
    return bool(re.search(r"\d", run) and re.search(r"[A-Za-z]", run))


def holds_secret(name: str, value: Any) -> bool:
    """Whether a JSON value looks like a secret anywhere in it."""
    if isinstance(value, Mapping):
        return any(holds_secret(key, inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(holds_secret(name, inner) for inner in value)
    return isinstance(value, str) and looks_secret(name, value)


def hider(endpoint: Endpoint) -> Callable[[str], str]:
    """A function that puts "[key]" in the place of every secret that the endpoint's requests carry.

    These are the key, and what may be a secret among the headers and the parameters of the URL.
    """
    values: list[str] = []
    for name, value in (*endpoint.headers.items(), *endpoint.query.items()):
        if _may_be_secret(name, value):
            scheme, _, rest = value.strip().partition(" ")
            values += [value.strip(), rest.strip() or scheme]
    keys = [ApiKey(value) for value in sorted(set(values), key=len, reverse=True) if value]

    def hide(text: str) -> str:
        for key in [endpoint.key, *keys]:
            text = key.hide(text)
        return text

    return hide
