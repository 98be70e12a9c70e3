"""Says how far an audit is: images made, and how much longer it will take."""

from __future__ import annotations

import time

import pytest

EVERY = 10.0  # seconds between two lines where the terminal cannot rewrite one


class Progress:
    """Counts images on the controller. `budget` is the most images that the plan asks for."""

    def __init__(self, config: pytest.Config, budget: int) -> None:
        self._config = config
        self._budget = budget
        self._made = 0
        self._started = self._told = time.monotonic()

    def rendered(self, count: int) -> None:
        """Note `count` new images and say so, now and then."""
        self._made += count
        now = time.monotonic()
        if count and now - self._told >= EVERY:
            self._told = now
            left = (now - self._started) / self._made * max(0, self._budget - self._made)
            self._tell(f"  {self._made} of at most {self._budget} images, {_duration(left)} left at most")

    def _tell(self, line: str) -> None:
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
