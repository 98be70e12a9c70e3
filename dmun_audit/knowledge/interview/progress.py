"""How far the questions have come: answers, tokens and the time left, in lines as answers arrive."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmun_audit.knowledge.language_models.preflight import about
from dmun_audit.knowledge.language_models.protocol import Answer

SECONDS = 5.0  # between two lines, at least
FIRST = 2  # answers after which the time left is told


class AnswerProgress:
    """Counts the answers of a transcript and tells `on_line` of them, at most once in SECONDS.

    `expected` is the number of questions that will be asked, about: questions that are asked again come on top. Only the time while
    questions are open counts. `clock` gives seconds.
    """

    def __init__(self, expected: int, on_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = expected
        self._on_line = on_line
        self._clock = clock
        self._done = self._asked = self._open = self._tokens = 0
        self._seconds = 0.0
        self._since = self._told = clock()

    def begin(self, kept: int, asked: int) -> None:
        """See `Progress.begin`."""
        self._done += kept
        self._open = asked
        self._since = self._clock()

    def answered(self, answer: Answer) -> None:
        """See `Progress.answered`."""
        now = self._clock()
        self._seconds += now - self._since
        self._since = now
        self._done += 1
        self._asked += 1
        self._open -= 1
        self._tokens += answer.tokens_in + answer.tokens_out
        if now - self._told >= SECONDS:
            self._told = now
            self._on_line(self.line())

    def line(self) -> str:
        """Such as "12 of about 39 answers · 14,200 tokens · about 6 minutes left"."""
        expected = max(self._expected, self._done + self._open)
        parts = [f"{self._done} of about {expected} answers", f"{self._tokens:,} tokens"]
        if self._asked >= FIRST and expected > self._done:
            parts.append(f"{about(self._seconds / self._asked * (expected - self._done))} left")
        return " · ".join(parts)
