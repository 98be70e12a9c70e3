"""How long a client waits for a server that is silent. Time that an answer takes does not count, and neither does its turn in a
queue: while parts of other answers to the same client come, the server works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from dmun_audit.knowledge.language_models.over_http.faults import Silence

LONGEST_KEEP_ALIVE = 4  # times the time-out; a server that only says that it is alive has so long for a part of an answer
_REST = 1.0  # seconds for what follows an answer that is complete


class Wait:
    """The wait of one request: for any byte (`silence`), and for a part of an answer (`keep_alive`)."""

    def __init__(self, timeout: float, silence: anyio.CancelScope, keep_alive: anyio.CancelScope) -> None:
        self._timeout = timeout
        self._silence = silence
        self._keep_alive = keep_alive
        self._ends = False

    def bytes_came(self) -> None:
        """Note that the server is alive."""
        if not self._ends:
            self._silence.deadline = anyio.current_time() + self._timeout

    def part_came(self) -> None:
        """Note that the server works on answers."""
        self.bytes_came()
        if not self._ends:
            self._keep_alive.deadline = anyio.current_time() + LONGEST_KEEP_ALIVE * self._timeout

    def end_soon(self) -> None:
        """Wait no longer than for the rest of a response whose answer is complete."""
        if not self._ends:
            self._silence.deadline = anyio.current_time() + min(_REST, self._timeout)
        self._ends = True


class Patience:
    """The waits of all requests of one client; `timeout` is the longest silence in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._waits: set[Wait] = set()

    @contextmanager
    def waiting(self) -> Iterator[Wait]:
        """Wait for one request. Raises Silence once the server has been silent for too long."""
        longest = LONGEST_KEEP_ALIVE * self._timeout
        try:
            with anyio.fail_after(longest) as keep_alive:
                try:
                    with anyio.fail_after(self._timeout) as silence:
                        wait = Wait(self._timeout, silence, keep_alive)
                        self._waits.add(wait)
                        try:
                            yield wait
                        finally:
                            self._waits.discard(wait)
                except TimeoutError:
                    raise Silence(f"nothing came within {in_seconds(self._timeout)}") from None
        except TimeoutError:
            times = f"{LONGEST_KEEP_ALIVE} times the time-out"
            raise Silence(f"nothing but keep-alives came within {in_seconds(longest)} ({times})") from None

    def part_came(self) -> None:
        """Note that a part of some answer has come: every request goes on waiting."""
        for wait in self._waits:
            wait.part_came()


def in_seconds(duration: float) -> str:
    """A duration in words: "1 second", "0.3 seconds"."""
    number = f"{duration:g}"
    return f"{number} second{'' if number == '1' else 's'}"
