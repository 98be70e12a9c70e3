"""What the log says of faults that are tried again: the same fault of a server once a minute, however many questions meet it."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
SECONDS = 60.0  # between two lines about the same fault


class FaultNotes:
    """The faults of one server. Two are the same if their reasons differ in numbers alone, the status apart. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def note(self, reason: str, tries: int) -> None:
        """Log that a question met a fault and is tried again, up to `tries` times in all."""
        fault = re.sub(r"(?<!status )\b\d+", "", reason)
        now = self._clock()
        if fault in self._said and now - self._said[fault] < SECONDS:
            self._unsaid[fault] += 1
            return
        self._said[fault] = now
        unsaid = self._unsaid.pop(fault, 0)
        again = f", and {unsaid} times more since the last such line" if unsaid else ""
        _LOG.info("no answer (%s)%s; trying again, up to %d times for each question", reason, again, tries)
