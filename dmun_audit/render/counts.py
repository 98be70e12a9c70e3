"""What an engine has drawn so far in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class DrawingTime:
    """Images that were drawn with one model's own pipeline, and the seconds that it took. Images of attacks are not among them."""

    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Counts:
    """Images rendered, stored images rendered again and found to be the same, and the time for images by model."""

    rendered: int = 0
    rechecked: int = 0
    times: Mapping[str, DrawingTime] = field(default_factory=lambda: MappingProxyType({}))

    def since(self, before: Counts) -> Counts:
        """What was drawn since `before`, in the same process."""
        none = DrawingTime()
        times = {
            side: DrawingTime(time.images - earlier.images, time.seconds - earlier.seconds)
            for side, time in self.times.items()
            if time.images > (earlier := before.times.get(side, none)).images
        }
        return Counts(self.rendered - before.rendered, self.rechecked - before.rechecked, times)
