"""Keeps Python's garbage collector away from large libraries while and after they are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def never_collected() -> Iterator[None]:
    """No garbage is collected in the context, and nothing that exists at its end is searched for garbage again.

    torch, transformers and diffusers leave hundreds of thousands of objects that live as long as the process. Searching them takes
    a fifth of their import, and seconds in the collections at the end of a test session. Import libraries in the context and load
    no models: a model that holds circles of references would stay in memory.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
