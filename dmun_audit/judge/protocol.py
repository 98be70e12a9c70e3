"""The public contract of detectors: what decides whether an image shows the target.

Another package adds a kind of detector in three steps.

1. It implements `Network` and `Detector`.
2. It writes a factory, `factory(reference, device) -> Network`, as `DetectorFactory` says.
3. It registers the factory under a name, in its own pyproject.toml:

       [project.entry-points."dmun_audit.detectors"]
       brightness = "my_package.brightness:open_network"

After `pip install my_package`, `--detector=brightness:SOURCE#QUERY` and `--second-judge=brightness:SOURCE#QUERY` use it.

Example of a whole detector, which needs no weights:

    >>> import hashlib
    >>> import numpy as np
    >>> class BrightnessDetector:
    ...     scale = ScoreScale(lowest=0.5)
    ...     def __init__(self, reference):
    ...         self.reference = reference.text
    ...         self.digest = hashlib.sha256(b"brightness, version 1").hexdigest()
    ...     def target_scores(self, images):
    ...         return np.array([image.mean() / 255 for image in images])
    >>> class BrightnessNetwork:
    ...     def detector(self, reference, target):
    ...         return BrightnessDetector(reference)
    >>> def open_network(reference, device):
    ...     return BrightnessNetwork()
    >>> reference = JudgeReference("brightness:any", "brightness", "any")
    >>> detector = open_network(reference, "cpu").detector(reference, target=None)
    >>> detector.target_scores([np.full((4, 4, 3), 255, np.uint8)]).tolist()
    [1.0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.judge.detection import THRESHOLD_CAP, Threshold
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.judge.views import View
from dmun_audit.knowledge.dossier import Target

__all__ = [
    "Detector",
    "DetectorFactory",
    "JudgeReference",
    "LoadError",
    "Network",
    "ScoreScale",
    "StoredImageDetector",
    "Target",
    "Threshold",
    "UsageError",
]


@dataclass(frozen=True)
class ScoreScale:
    """How the scores of a kind of detector become a threshold.

    `calibrated` is true for graded scores: the threshold is about the 99% quantile of the scores of images without the target,
    at least `lowest`, and at most the policy's cap. It is false for a detector that answers yes or no, and `lowest` is then the
    threshold itself. `absolute` is true for probabilities. It is false for cosines and other scores that mean something only
    beside the scores of other images: no cap holds for them. `lowest` is in [0, 1]. Raises ValueError for any other value.
    """

    lowest: float
    calibrated: bool = True
    absolute: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lowest) and 0 <= self.lowest <= 1):
            raise ValueError(f"The lowest threshold of a scale is in [0, 1], not {self.lowest}.")


class Detector(Protocol):
    """Scores images for one target.

    An audit scores an image once and keeps the score in its store. Therefore a score depends on the image alone: not on the
    other images of the call, their order, or the time.
    """

    @property
    def reference(self) -> str:
        """The detector as the user named it: `JudgeReference.text`."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (64 lower-case hex digits) of everything that decides a score.

        That is the weights, the preprocessing, the query, and the version of the code. Scores are stored under the digest:
        two detectors of one digest share their scores.
        """
        ...

    @property
    def scale(self) -> ScoreScale:
        """How its scores become a threshold."""
        ...

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Scores (n,) in [0, 1] of n ≥ 1 images (height, width, 3) uint8 RGB. The likelier the target is there, the higher.

        The audit refuses a score that is not finite or not in [0, 1]. Raises UsageError where an image gets no score.
        """
        ...


class Network(Protocol):
    """An opened network, or a connected service, that can look for any target. It gives one detector for each target."""

    def detector(self, reference: JudgeReference, target: Target) -> Detector:
        """The detector for `reference.query`, or for `target` where the query is empty.

        References that differ in their query alone share one network. Raises LoadError for a query or target that the
        network cannot detect.
        """
        ...


class DetectorFactory(Protocol):
    """Opens the network of a registered detector. An entry point of the group `dmun_audit.detectors` names it."""

    def __call__(self, reference: JudgeReference, device: str) -> Network:
        """The network that `reference.source` names, on a torch device such as "cpu" or "cuda".

        It is called once for each source, before any image is rendered. Raises LoadError where the network cannot be opened.
        """
        ...


class StoredImageDetector(Protocol):
    """Scores images of the store, by their keys, for one target. What it computes is kept: no image is scored twice."""

    @property
    def reference(self) -> str:
        """The judge as the user named it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of everything that decides a score."""
        ...

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """Scores (n,) in [0, 1] of the n ≥ 1 images of `keys`."""
        ...

    def threshold(self, keys: Sequence[str], cap: float = THRESHOLD_CAP) -> Threshold:
        """The detection threshold, at most `cap`, calibrated on the images of `keys`, which do not show the target."""
        ...

    def through(self, view: View) -> StoredImageDetector:
        """The same judge on changed images: it scores what `view` makes of the image of a key."""
        ...
