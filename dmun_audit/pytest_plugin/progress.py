"""The progress of audits: images drawn, and the images, the time and the cost that are to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dmun_audit.pytest_plugin.drawn_counts import DrawnCounts
from dmun_audit.pytest_plugin.terminal_lines import TerminalLines

SHORTEST, LONGEST = 10.0, 60.0  # seconds between two lines where the terminal cannot rewrite one
SHARE = 1 / 20  # of the time that has gone by, between two such lines
LIVE = 0.5  # seconds between two changes of a line that is rewritten


@dataclass(frozen=True)
class Left:
    """Images that undecided cases are likely to request, and the largest number that they can request."""

    expected: int
    most: int


class Progress:
    """Counts images on the controller, and shows its state on the terminal.

    `left` gives the images of cases without a record. `counts` are what workers of pytest-xdist draw; None without workers. `price`
    is the price of an hour. A terminal shows one line and rewrites it; elsewhere lines come every 10 seconds at first, and every minute
    later on.
    """

    def __init__(
        self, lines: TerminalLines, left: Callable[[], Left], counts: DrawnCounts | None = None, price: float | None = None
    ) -> None:
        self.lines = lines
        self._left = left
        self._counts = counts
        self._price = price
        self._rendered = self._when_decided = 0
        self._known: Left | None = None
        self._started = self._last = time.monotonic()
        self._loaded: float | None = None  # when the first models were ready to draw
        self._has_image = False
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if counts is not None and lines.is_shown:
            self._watcher.start()

    def rendered(self, count: int) -> None:
        """Count images that this process drew; none say that its models are ready to draw."""
        self._rendered += count
        self._loaded = self._loaded or time.monotonic()
        if count:
            self._tick()

    def decided(self) -> None:
        """Note that a case was decided: what is left is counted again."""
        self._known = self._left()
        self._when_decided = self._drawn

    def end(self) -> None:
        """Show nothing more."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=5 * LIVE)
        self.lines.end()

    @property
    def _drawn(self) -> int:
        return self._rendered + (self._counts.total() if self._counts else 0)

    def _watch(self) -> None:
        """Look at what the workers draw, in a thread: pytest-xdist calls nothing until a test ends."""
        while not self._ended.wait(LIVE):
            self._tick()

    def _tick(self) -> None:
        now, drawn = time.monotonic(), self._drawn
        if self._loaded is None and self._counts is not None and self._counts.any_ready():
            self._loaded = now
        is_first = bool(drawn) and not self._has_image
        self._has_image = bool(drawn)
        pause = LIVE if self.lines.is_live else min(LONGEST, max(SHORTEST, SHARE * (now - self._started)))
        if now - self._last >= pause or is_first:
            self._last = now
            self.lines.state(self.state(now, drawn))

    def state(self, now: float, drawn: int) -> str:
        """The state of the audits at a time (seconds of the monotonic clock), with `drawn` images."""
        if not drawn or self._loaded is None:
            doing = "models are loading" if self._loaded is None else "no image drawn yet"
            return f"  {doing}, {duration(now - self._started)} so far"
        known, since = self._known or self._left(), drawn - self._when_decided
        most = max(0, known.most - since)
        expected = min(most, max(0, known.expected - since))
        each = (now - self._loaded) / drawn
        words = [f"{drawn:,} images drawn"]
        words.append(f"about {expected:,} to go, {self._time(expected * each)}" if expected else "few to go")
        if most > expected:
            words.append(f"at most {most:,}, {self._time(most * each)}")
        return f"  {' · '.join(words)}"

    def cost(self, now: float) -> str:
        """What the audits cost until a time (seconds of the monotonic clock), in a line; empty without a price."""
        if self._price is None:
            return ""
        drawn, took = self._drawn, now - self._started
        images = f"{drawn:,} images drawn" if drawn else "no image drawn: all were in the store"
        return f"cost: {self._price * took / 3600:.2f} for {duration(took)} at {self._price:g} an hour ({images})"

    def _time(self, seconds: float) -> str:
        cost = "" if self._price is None else f" and {self._price * seconds / 3600:.2f}"
        return duration(seconds) + cost


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
