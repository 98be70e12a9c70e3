"""The pipeline that a sampler draws with: the model's own, or one that was made faster or offloaded.

The model's own pipeline stays as it was loaded and probed: candidates are laid over it, and digests name its weights by where they lie
in memory. A copy is changed. It shares the memory of every weight that stays as it is. A model with code of its own is no safe copy,
so its own pipeline is changed; nothing is laid over such a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dmun_audit.render.acceleration import Asked, Level, accelerate, common_level, decodes_in_slices
from dmun_audit.render.devices import Offload
from dmun_audit.render.offloading import offload

if TYPE_CHECKING:
    from dmun_audit.models.loaded import LoadedModel


@dataclass(frozen=True)
class Execution:
    """How the pipelines of an audit are run. Each part may change the last bits of an image."""

    acceleration: Level = "none"
    offload: Offload | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What differs from a pipeline that is drawn with as it was loaded: a part of every image's key."""
        level = {"acceleration": self.acceleration} if self.acceleration != "none" else {}
        return level | ({"offload": self.offload} if self.offload else {})


def execution_of(asked: Asked, offload: Offload | None, models: Iterable[LoadedModel]) -> Execution:
    """How these models are run. The policy asks for an acceleration, and `--offload` for a way to offload."""
    return Execution(common_level(asked, models, is_offloaded=offload is not None), offload)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A pipeline to draw with. Call `put_back` after each call of it."""

    pipeline: Any
    put_back: Callable[[], None]


_MADE: WeakKeyDictionary[LoadedModel, dict[tuple[Execution, bool], Drawing]] = WeakKeyDictionary()


def drawing_of(
    model: LoadedModel, execution: Execution, pixels: int, device: str, base: tuple[Any, Any] | None = None
) -> Drawing:
    """What draws batches of `pixels` pixels of a model on `device`. It is made once for each model.

    `base` is the base's pipeline as loaded, and the one that it is drawn with: weights that `model` shares with the first one are
    taken from the second one.
    """
    if execution == Execution():
        return Drawing(model.pipeline, lambda: None)
    from dmun_audit.models.in_memory import copy_to_draw_with

    made, sliced = _MADE.setdefault(model, {}), decodes_in_slices(pixels)
    if (execution, sliced) not in made:
        made.clear()  # another copy takes memory too
        pipeline = copy_to_draw_with(model) if model.may_be_copied else model.pipeline
        accelerate(pipeline, execution.acceleration, sliced, base)
        put_back = offload(pipeline, execution.offload, device) if execution.offload else lambda: None
        made[execution, sliced] = Drawing(pipeline, put_back)
    return made[execution, sliced]
