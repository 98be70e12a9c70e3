"""Shows the progress of an audit: rendered images and remaining time."""

from __future__ import annotations

import time

import pytest

EVERY = 10.0  # seconds between two lines where the terminal cannot rewrite one


class Progress:
    """Counts images on the controller. `budget` is the largest number of images that the plans can request."""

    def __init__(self, config: pytest.Config, budget: int) -> None:
        self._config = config
        self._budget = budget
        self._rendered = 0
        self._started = self._last_shown = time.monotonic()

    def rendered(self, count: int) -> None:
        """Count new images. Shows a line every `EVERY` seconds."""
        self._rendered += count
        now = time.monotonic()
        if count and now - self._last_shown >= EVERY:
            self._last_shown = now
            left = (now - self._started) / self._rendered * max(0, self._budget - self._rendered)
            self._show(f"  {self._rendered} of at most {self._budget} images, at most {_duration(left)} left")

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
