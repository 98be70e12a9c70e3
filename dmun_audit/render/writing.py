"""Writes images in a thread of its own while further images are drawn."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Self

WAITING = 1  # batches that wait while another one is written: two at most are in memory beside the one that is drawn


class Writer:
    """A thread that does small works in their order. Leave the context to wait until all are done.

    A work that raises does not keep the thread from the later ones. Its error is raised in the thread that hands over works: at
    the next one, or when the context is left without another error. It is the first
    one, where there are several.
    """

    def __init__(self) -> None:
        self._works: Queue[Callable[[], None] | None] = Queue(WAITING)
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            self._works.put(None)
            self._thread.join()
        if kind is None:
            self._raise()

    def hand_over(self, *works: Callable[[], None]) -> None:
        """Have `works` done, each whatever becomes of the others. Waits while earlier works wait. Raises an error of earlier works."""

        def all_of_them() -> None:
            for work in works:
                try:
                    work()
                except Exception as error:
                    self._error = self._error or error

        if self._thread is None:
            self._thread = Thread(target=self._run, name="dmun_audit writes images", daemon=True)
            self._thread.start()
        self._works.put(all_of_them)
        self._raise()

    def _run(self) -> None:
        while (work := self._works.get()) is not None:
            work()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
