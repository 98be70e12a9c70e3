"""Keeps Python's garbage collector away from large libraries while and after they are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def never_collected() -> Iterator[None]:
    """What the context makes is never searched for garbage: neither now nor in later collections of this process.

    torch, transformers and diffusers leave hundreds of thousands of objects that live as long as the process. Searching them takes a fifth of
    their import, and seconds in the collections at the end of a test session. Circles of references that become garbage in the
    context stay in memory, so it is for processes that end with the audit.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
