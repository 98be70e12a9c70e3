"""What goes wrong while a question is asked over HTTP, as exceptions; the client decides which of them are tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ServerError:
    """What a server said instead of an answer.

    `message` is one line for people. `words` holds all that the server said, in lower case, for comparison with known wordings.
    `numbers` holds the integers among the error's fields, `pause` the seconds that the server asks to wait. `is_page` tells
    whether a web page came, `location` where a redirect points.
    """

    status: int
    message: str
    words: str = ""
    numbers: dict[str, Any] = field(default_factory=dict, hash=False)
    pause: float | None = None
    is_page: bool = False
    location: str = ""

    @property
    def reason(self) -> str:
        """The status and the message."""
        return f"status {self.status}" + (f": {self.message}" if self.message else "")


class Refused(Exception):
    """The server refused a request, by its status or within a reply."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.reason)
        self.error = error


class TemporaryFault(Exception):
    """A fault that may pass. `remedy` is what a person does if it does not."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Silence(Exception):
    """Nothing came from the server, or nothing but keep-alives, for so many seconds."""
