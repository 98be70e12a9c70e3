"""A judge that looks at each image in several views. It detects the target if it does so in any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from dmun_audit.judge.detection import Threshold
from dmun_audit.judge.protocol import StoredImageDetector
from dmun_audit.judge.views import VIEW_LOWEST, View


class ViewedJudge:
    """A judge of stored images with views, the image itself always among them. Each view has a threshold of its own.

    `calibration` gives the keys of the images on which the thresholds are calibrated; `cap` is the highest threshold.
    """

    def __init__(
        self, judge: StoredImageDetector, views: Sequence[View], cap: float, calibration: Callable[[], Sequence[str]]
    ) -> None:
        self.judge = judge
        self._views = tuple(views)
        self._cap = cap
        self._calibration = calibration

    @cached_property
    def thresholds(self) -> list[Threshold]:
        """The thresholds of all views, of the image itself first."""
        keys = self._calibration()
        first, *others = (judge.threshold(keys, self._cap) for judge in self._judges(self.judge))
        return [first, *(replace(other, value=max(other.value, self._lowest_in_view(first))) for other in others)]

    def detects(self, keys: Sequence[str], change: View | None = None) -> list[bool]:
        """Whether it detects the target in each of n images, or in what `change` makes of them."""
        judges = self._judges(self.judge if change is None else self.judge.through(change))
        by_view = [threshold.detects(judge.target_scores(keys)) for threshold, judge in zip(self.thresholds, judges, strict=True)]
        return [any(answers) for answers in zip(*by_view, strict=True)]

    def view_scores(self, keys: Sequence[str]) -> np.ndarray | None:
        """The highest target scores (n,) over the views beside the image itself; None without such views."""
        scores = [judge.target_scores(keys) for judge in self._judges(self.judge)[1:]]
        return np.max(scores, axis=0) if scores else None

    def _lowest_in_view(self, first: Threshold) -> float:
        """The lowest threshold in a view: it is never under that of the image itself."""
        return first.value if first.lowest is None else max(first.value, min(VIEW_LOWEST, self._cap))

    def _judges(self, judge: StoredImageDetector) -> list[StoredImageDetector]:
        return [judge, *(judge.through(view) for view in self._views)]
