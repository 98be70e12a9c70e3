"""Asynchronous work seen from ordinary code: an iterator of results that can be left at any moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
CANCEL_AGAIN = 0.5  # seconds


def as_they_come(work: Callable[[Callable[[T], None]], Coroutine[None, None, None]]) -> Iterator[T]:
    """Run `work(arrived)` in an event loop of its own and yield whatever it hands to `arrived`, in that order.

    What `work` raises is raised here, after all that arrived before. Leaving early (Ctrl-C, or dropping the iterator)
    cancels the work at once: nobody waits for an answer that is no longer wanted.
    """
    arrived: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(work(lambda result: arrived.put((result,))))

    def run() -> None:
        asyncio.set_event_loop(loop)
        end: BaseException | None = None
        try:
            loop.run_until_complete(task)
        except BaseException as error:  # it is the reader's to raise
            end = error
        finally:
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
            finally:
                arrived.put(end)

    thread = threading.Thread(target=run, name="dmun-language-model", daemon=True)
    ended = False
    try:
        thread.start()
        while not ended:
            match arrived.get():
                case (result,):
                    yield result
                case None:
                    ended = True
                case error:
                    ended = True
                    raise error
    finally:
        while thread.is_alive() and not ended:  # again and again: a cancellation can be swallowed where the work cleans up
            with suppress(RuntimeError):  # the work has just ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join(CANCEL_AGAIN)
        if thread.is_alive():
            thread.join()
