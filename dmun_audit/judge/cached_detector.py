"""A detector of stored images. It keeps each score in the store, so that no image is scored twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.calibration import calibrated_threshold
from dmun_audit.judge.detection import THRESHOLD_CAP, Threshold
from dmun_audit.judge.protocol import Detector
from dmun_audit.judge.views import View
from dmun_audit.store.embeddings import EmbeddingStore

IMAGES_PER_WRITE = 16  # a stopped run keeps the scores of all images but the last few

_LOG = logging.getLogger(__name__)


class CachedDetector:
    """A `StoredImageDetector` made of a `Detector`. A score is stored as a vector of one number under the detector's digest.

    `read` gives the pixels (height, width, 3) uint8 of the images of some keys.
    """

    def __init__(
        self, detector: Detector, store: EmbeddingStore, read: Callable[[Sequence[str]], list[np.ndarray]]
    ) -> None:  # fmt: skip
        self.reference = detector.reference
        self.digest = detector.digest
        self._detector = detector
        self._store = store
        self._read = read
        self._scores: dict[str, float] = {}
        self._through: dict[str, CachedDetector] = {}

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """See `StoredImageDetector.target_scores`. Raises LoadError unless the detector gives numbers in [0, 1]."""
        new = [key for key in keys if key not in self._scores]
        if new:
            stored = self._store.complete(new, self._score, IMAGES_PER_WRITE)
            self._scores |= {key: float(score[0]) for key, score in stored.items()}
        return np.array([self._scores[key] for key in keys], dtype=np.float64)

    def threshold(self, keys: Sequence[str], cap: float = THRESHOLD_CAP) -> Threshold:
        """See `StoredImageDetector.threshold`."""
        return calibrated_threshold(self, self._detector.scale, keys, cap)

    def through(self, view: View) -> CachedDetector:
        """See `StoredImageDetector.through`."""
        if view.name not in self._through:
            seen = CachedDetector(self._detector, self._store, view.reader(self._read))
            seen.digest = digest([self.digest, "view", view.name])
            seen._store = self._store.of_judge(seen.digest)
            self._through[view.name] = seen
        return self._through[view.name]

    def _score(self, keys: list[str]) -> np.ndarray:
        """Scores (n, 1) of n images."""
        start = perf_counter()
        given = self._detector.target_scores(self._read(keys))
        try:
            scores = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError):
            scores = np.empty(0, dtype=np.float32)  # refused below
        if scores.shape != (len(keys),) or not ((scores >= 0) & (scores <= 1)).all():
            raise LoadError(
                f"judge {self.reference!r} gave no scores between 0 and 1", "its weights may be damaged", "use another judge"
            )
        _LOG.debug("scored %d images with %r in %.2f s", len(keys), self.reference, perf_counter() - start)
        return scores[:, None]
