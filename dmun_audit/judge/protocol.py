"""Who says whether the target is in an image: one protocol for pixels, one for images in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dmun_audit.judge.detection import Threshold
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import Target


@dataclass(frozen=True)
class Scale:
    """What a kind's scores mean. The threshold is calibrated on images without the target and never set under `lowest`; a kind
    that only says yes or no cannot be `calibrated`, and `lowest` is its threshold."""

    lowest: float
    calibrated: bool = True


class Detector(Protocol):
    """Looks at pixels for one target."""

    @property
    def reference(self) -> str:
        """The judge, as the user named it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a score: weights, preprocessing, what is asked."""
        ...

    @property
    def scale(self) -> Scale:
        """What its scores mean."""
        ...

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Scores (n,) in [0, 1] of images (height, width, 3) uint8; the higher, the surer it is that the target is there."""
        ...


class Network(Protocol):
    """An opened network (or a service) that can look for any target: opened once, it gives a detector for each."""

    def detector(self, reference: JudgeReference, target: Target) -> Detector:
        """The detector of what `reference` asks for, or of `target` where it asks for nothing. Raises LoadError where the network
        does not know it."""
        ...


class StoredImageDetector(Protocol):
    """Looks at stored images, by their keys, for one target. An image is scored once, ever: scores or what they are made of are kept."""

    @property
    def reference(self) -> str:
        """The judge, as the user named it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a score."""
        ...

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """Scores (n,) in [0, 1] of the images of `keys`."""
        ...

    def threshold(self, keys: Sequence[str]) -> Threshold:
        """The score over which an image shows the target, from the images of `keys`, which do not show it."""
        ...
