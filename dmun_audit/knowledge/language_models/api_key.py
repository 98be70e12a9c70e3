"""The key of a hosted model: read from the environment, sent in one header, removed from every text."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from dmun_audit._util.errors import UsageError

VARIABLES = ("DMUN_LLM_API_KEY", "OPENAI_API_KEY")
_SHORTEST_SECRET = 8  # characters; a shorter key is a placeholder such as "none"
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")  # an ASCII character that JSON need not escape


@dataclass(frozen=True)
class ApiKey:
    """A key, "" if there is none."""

    value: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> ApiKey:
        """The first key among VARIABLES. Raises UsageError, without the key, if no header can carry it."""
        name = next((name for name in VARIABLES if os.environ.get(name, "").strip()), "")
        value = os.environ.get(name, "").strip()
        if not (value.isascii() and value.isprintable() and " " not in value):
            raise UsageError(f"the key in {name} is no key", "it holds characters that no header can carry", "set it again")
        return cls(value)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def hide(self, text: str) -> str:
        """`text` with "[key]" instead of the key, which a server or a library may repeat, in JSON escapes too."""
        if len(self.value) < _SHORTEST_SECRET:
            return text
        unescaped = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        escaped_only = self.value in unescaped and self.value not in text
        return (unescaped if escaped_only else text).replace(self.value, "[key]")
