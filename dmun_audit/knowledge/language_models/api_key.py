"""The key of a hosted model: read from the environment, sent in one header, removed from every text."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dmun_audit._util.errors import UsageError

OWN_VARIABLE = "DMUN_LLM_API_KEY"
VLM_VARIABLE = "DMUN_VLM_API_KEY"  # for `--vlm` and `vlm:` detectors, before OWN_VARIABLE
INSECURE_VARIABLE = "DMUN_LLM_INSECURE_KEY"
VARIABLES = (OWN_VARIABLE, "OPENAI_API_KEY")  # for a URL that leads to no service known by name
_SHORTEST_SECRET = 8  # characters; a shorter key is a placeholder such as "none"
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")  # an ASCII character that JSON need not escape


@dataclass(frozen=True)
class ApiKey:
    """A key, "" if there is none, with the header that carries it and the variables that it may come from.

    `others` are further secrets that go with every request, such as the values of headers.
    """

    value: str = field(repr=False)
    header: str = "Authorization"
    variables: tuple[str, ...] = VARIABLES
    others: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(
        cls, variables: Sequence[str] = VARIABLES, header: str = "Authorization", others: tuple[str, ...] = ()
    ) -> ApiKey:
        """The first key among `variables`. Raises UsageError, without the key, if no header can carry it."""
        name = next((name for name in variables if os.environ.get(name, "").strip()), "")
        value = os.environ.get(name, "").strip()
        if not (value.isascii() and value.isprintable() and " " not in value):
            raise UsageError(f"the key in {name} is no key", "it holds characters that no header can carry", "set it again")
        return cls(value, header, tuple(variables), others)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key."""
        if not self.value:
            return {}
        return {self.header: f"Bearer {self.value}" if self.header == "Authorization" else self.value}

    @property
    def where(self) -> str:
        """The variables that may hold the key, in words."""
        first, *others = self.variables
        return f"{first} (or {' or '.join(others)})" if others else first

    def hide(self, text: str) -> str:
        """`text` with "[key]" instead of the key, which a server or a library may repeat, in JSON escapes too."""
        for secret in (self.value, *self.others):
            text = _without(secret, text)
        return text


def _without(secret: str, text: str) -> str:
    if len(secret) < _SHORTEST_SECRET:
        return text
    unescaped = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    escaped_only = secret in unescaped and secret not in text
    return (unescaped if escaped_only else text).replace(secret, "[key]")


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: localhost, 127.0.0.0/8 or ::1. A private network is no loopback."""
    host = (urlsplit(url).hostname or "").rstrip(".").casefold()
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def require_safe_transport(url: str, key: ApiKey, insecure: bool) -> None:
    """Raise UsageError if a key or another secret would travel unencrypted beyond this machine, unless `insecure` allows it."""
    if not (key.value or key.others) or insecure or os.environ.get(INSECURE_VARIABLE, "").strip() not in {"", "0"}:
        return
    if urlsplit(url).scheme != "http" or is_loopback(url):
        return
    name = next((name for name in key.variables if os.environ.get(name, "").strip()), "a header or query parameter")
    raise UsageError(
        f"a key would be sent unencrypted to {urlsplit(url).hostname}",
        f"{url} is plain http, and {name} holds a key: everyone on the way could read it",
        f"use https, or an SSH tunnel to localhost; or unset {name}; or allow it with --insecure-key (or {INSECURE_VARIABLE}=1)",
    )
