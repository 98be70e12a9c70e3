"""Shows the progress of an audit: rendered images and remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

EVERY = 10.0  # seconds between two lines where the terminal cannot rewrite one


class Progress:
    """Counts images on the controller. `images_left` gives the largest number of images that undecided cases can request."""

    def __init__(self, config: pytest.Config, images_left: Callable[[], int]) -> None:
        self._config = config
        self._images_left = images_left
        self._rendered = 0
        self._started = self._last_shown = time.monotonic()

    def rendered(self, count: int) -> None:
        """Count new images. Shows a line every `EVERY` seconds."""
        self._rendered += count
        now = time.monotonic()
        if count and now - self._last_shown >= EVERY:
            self._last_shown = now
            left = self._images_left()
            seconds = (now - self._started) / self._rendered * left
            self._show(f"  {self._rendered:,} images drawn, at most {left:,} to go, in at most {_duration(seconds)}")

    def _show(self, line: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or self._config.option.verbose < 0:
            return
        if capture is None:
            terminal.ensure_newline()
            terminal.write_line(line)
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
