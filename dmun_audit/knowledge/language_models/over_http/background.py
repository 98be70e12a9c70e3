"""Asynchronous work that ordinary code reads as an iterator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from queue import SimpleQueue
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")


def iterate_in_background(work: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
    """Run `work(deliver)` in an event loop of its own thread and yield each value that it passes to `deliver`.

    An error of `work` is raised after the values that it delivered before. Closing the iterator early (Ctrl-C, for
    instance) cancels the work at once; anyio repeats the cancellation if the work swallows it.
    """
    values: SimpleQueue[tuple[T] | None] = SimpleQueue()
    with start_blocking_portal(name="dmun-language-model") as portal:
        future = portal.start_task_soon(work, lambda value: values.put((value,)))
        future.add_done_callback(lambda _: values.put(None))
        try:
            while (value := values.get()) is not None:
                yield value[0]
            future.result()
        finally:
            future.cancel()
