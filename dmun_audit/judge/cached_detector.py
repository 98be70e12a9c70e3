"""A detector at work on stored images: its scores are kept, so that it looks at an image once, ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.detection import Threshold, calibrate
from dmun_audit.judge.protocol import Detector, Scale
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.files import held

AT_ONCE = 16  # images looked at between two writings: what a stopped run has seen is kept


class CachedDetector:
    """Scores images, named by their keys, by a detector. A score is kept as a vector of one number under the detector's digest."""

    def __init__(
        self, detector: Detector, store: EmbeddingStore, read: Callable[[Sequence[str]], list[np.ndarray]]
    ) -> None:  # fmt: skip
        self.reference = detector.reference
        self.digest = detector.digest
        self._detector = detector
        self._store = store
        self._read = read
        self._known: dict[str, float] = {}

    def target_scores(self, keys: Sequence[str]) -> np.ndarray:
        """See `StoredImageDetector.target_scores`. Raises LoadError where the detector gives anything but numbers in [0, 1]."""
        if self._unknown(keys):
            with held(self._store.folder / ".lock"):  # others wait for what they would have to look at too
                new = self._unknown(keys)
                for start in range(0, len(new), AT_ONCE):
                    self._look(new[start : start + AT_ONCE])
        return np.array([self._known[key] for key in keys], dtype=np.float64)

    def threshold(self, keys: Sequence[str]) -> Threshold:
        """See `StoredImageDetector.threshold`."""
        return threshold_of(self._detector.scale, lambda: self.target_scores(keys))

    def _unknown(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` whose images have no score yet; what the store holds of the others is read."""
        for key in keys:
            if key not in self._known and (stored := self._store.read(key)) is not None:
                self._known[key] = float(stored[0])
        return [key for key in dict.fromkeys(keys) if key not in self._known]

    def _look(self, keys: Sequence[str]) -> None:
        scores = np.asarray(self._detector.target_scores(self._read(keys)), dtype=np.float32)
        if scores.shape != (len(keys),) or not ((scores >= 0) & (scores <= 1)).all():
            raise LoadError(
                f"judge {self.reference!r} gave no scores between 0 and 1", "its weights may be damaged", "use another judge"
            )
        for key, score in zip(keys, scores, strict=True):
            self._store.write(key, np.array([score]))
            self._known[key] = float(score)


def threshold_of(scale: Scale, scores: Callable[[], np.ndarray]) -> Threshold:
    """The threshold on a scale: calibrated on `scores` of images without the target, or the one that the scale brings."""
    return calibrate(scores(), scale.lowest) if scale.calibrated else Threshold(scale.lowest, 0)
