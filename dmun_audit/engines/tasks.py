"""What a renderer is asked to do, one call each. Arguments of a call are kept until its result is there: it may have to be made again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from dmun_audit.engines.renderer import JudgeToOpen
from dmun_audit.judge.views import View
from dmun_audit.plan.case import ImageRequest

if TYPE_CHECKING:
    import numpy as np


class Task(ABC):
    """One call of a renderer. `done` is what it does to a batch, in the past tense."""

    done: ClassVar[str]

    def __init__(self) -> None:
        self.tries = 0  # how often a renderer was lost with it

    @abstractmethod
    def start(self, actor: Any) -> Any:
        """Call the renderer `actor`. Returns the future of the result."""


class DrawTask(Task):
    """A batch to draw: see `Renderer.render`. `held` is let go when the images are stored, or when the task is given up."""

    done = "drew"

    def __init__(
        self,
        batch: tuple[ImageRequest, ...],
        missing: list[ImageRequest],
        keys: list[str],
        stores: bool,
        held: ExitStack | None = None,
    ) -> None:
        super().__init__()
        self.batch, self.missing, self.keys, self.stores = batch, missing, keys, stores
        self.held = held or ExitStack()

    def start(self, actor: Any) -> Any:
        """See `Task.start`. The result is a list of `Part`."""
        return actor.render.remote(self.batch, self.missing, self.keys, self.stores)


class EmbedTask(Task):
    """Images to embed: see `Renderer.embed`."""

    done = "judged"

    def __init__(
        self, judge: JudgeToOpen, keys: list[str], views: Sequence[View], images: list[np.ndarray] | None = None
    ) -> None:
        super().__init__()
        self.judge, self.keys, self.views, self.images = judge, keys, views, images

    def start(self, actor: Any) -> Any:
        """See `Task.start`. The result is an array, or None."""
        return actor.embed.remote(self.judge, self.keys, self.views, self.images)
