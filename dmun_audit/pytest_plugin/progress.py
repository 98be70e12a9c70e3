"""Shows the progress of audits: images drawn, images and time to go, what it costs, and claims as soon as they are decided."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from dmun_audit.pytest_plugin.drawn_counts import DrawnCounts

SHORTEST, LONGEST = 10.0, 60.0  # seconds between two lines where the terminal cannot rewrite one
SHARE = 1 / 20  # of the time that has gone by, between two such lines
LIVE = 0.5  # seconds between two changes of a line that is rewritten
SAVE, RESTORE, CLEAR = "\x1b7", "\x1b8", "\r\x1b[2K"
BELOW = "\x1bD\x1b[A"  # makes sure that there is a line below the current one; the cursor keeps its place


@dataclass(frozen=True)
class Left:
    """Images that undecided cases are likely to request, and the largest number that they can request."""

    expected: int
    most: int


class Progress:
    """Counts images on the controller, and shows lines on the terminal unless pytest is quiet (-q).

    `left` gives the images of cases without a record. `counts` are what workers of pytest-xdist draw; None without workers. `price`
    is the price of an hour. A terminal shows one line and rewrites it; elsewhere lines come every 10 seconds at first, and every minute
    later on.
    """

    def __init__(self, config: pytest.Config, left: Callable[[], Left], counts: DrawnCounts | None, price: float | None) -> None:
        self._config = config
        self._left = left
        self._counts = counts
        self._price = price
        self._rendered = self._when_decided = 0
        self._known = Left(0, 0)
        self._started = self._last = time.monotonic()
        self._loaded = 0.0  # when the first models were ready to draw
        self._has_image = False
        self._terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._live = self._terminal is not None and self._terminal.isatty() and _knows_sequences()
        self._shown = self._paused = False
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if counts is not None and self._is_shown:
            self._watcher.start()

    @property
    def _is_shown(self) -> bool:
        return self._terminal is not None and self._config.option.verbose >= 0

    # What happens.

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

    def claim(self, line: str) -> None:
        """Show a claim that is decided."""
        if self._is_shown:
            self._write_line(line)

    def pause(self) -> None:
        """Take the live line away and show none until `resume`: pytest is about to write."""
        with self._lock:
            self._paused = True
            self.clear()

    def resume(self) -> None:
        """Pytest has written."""
        self._paused = False

    def end(self) -> None:
        """Show nothing more."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=5 * LIVE)
        with self._lock:
            self.clear()

    # Lines.

    @property
    def _drawn(self) -> int:
        return self._rendered + (self._counts.total() if self._counts else 0)

    def _watch(self) -> None:
        """Look at what the workers draw, in a thread: pytest-xdist calls nothing until a test ends."""
        while not self._ended.wait(LIVE):
            self._tick()

    def _tick(self) -> None:
        if not self._is_shown or self._paused or self._ended.is_set():
            return
        now, drawn = time.monotonic(), self._drawn
        if not self._loaded and self._counts is not None and self._counts.any_ready():
            self._loaded = now
        is_first = bool(drawn) and not self._has_image
        self._has_image = bool(drawn)
        pause = LIVE if self._live else min(LONGEST, max(SHORTEST, SHARE * (now - self._started)))
        if now - self._last >= pause or is_first:
            self._last = now
            self._show(self.line(now, drawn))

    def line(self, now: float, drawn: int) -> str:
        """The state of the audits at a time (seconds of the monotonic clock), with `drawn` images."""
        if not drawn:
            doing = "no image drawn yet" if self._loaded else "models are loading"
            return f"  {doing}, {duration(now - self._started)} so far"
        since = drawn - self._when_decided
        known = self._known if self._known.most else self._left()
        most = max(0, known.most - since)
        expected = min(most, max(0, known.expected - since))
        each = (now - self._loaded) / drawn
        words = [f"{drawn:,} images drawn"]
        words.append(f"about {expected:,} to go, {self._time(expected * each)}" if expected else "few to go")
        if most > expected:
            words.append(f"at most {most:,}, {self._time(most * each)}")
        return f"  {' · '.join(words)}"

    def _time(self, seconds: float) -> str:
        cost = "" if self._price is None else f" and {self._price * seconds / 3600:.2f}"
        return duration(seconds) + cost

    def _show(self, line: str) -> None:
        with self._lock:
            if self._paused or self._ended.is_set():  # pytest may have begun to write meanwhile
                return
            if not self._live:
                self._write_line(line)
                return
            width = shutil.get_terminal_size().columns
            self._shown = True
            self._write(f"{BELOW}{SAVE}\x1b[B{CLEAR}{line[: width - 1]}{RESTORE}")

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._shown = False
            self._write(f"{SAVE}\x1b[B{CLEAR}{RESTORE}")

    def _write(self, text: str) -> None:
        with self._lock, self._uncaptured():
            self._terminal.write_raw(text, flush=True)

    def _write_line(self, line: str) -> None:
        with self._lock, self._uncaptured():
            self._terminal.ensure_newline()
            if self._terminal._tw.width_of_current_line:  # dots of pytest-xdist
                self._terminal.line("")
            self._terminal.write_line(line)
            self._terminal.flush()

    def _uncaptured(self) -> Any:
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture and self._counts is None else nullcontext()


def _knows_sequences() -> bool:
    """Whether a terminal of this kind moves its cursor as it is told."""
    return sys.platform != "win32" and os.environ.get("TERM", "dumb") != "dumb"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
