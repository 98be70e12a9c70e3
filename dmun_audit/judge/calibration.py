"""The detection threshold of a judge, from the scores of stored images without the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dmun_audit.judge.detection import Threshold, calibrate
from dmun_audit.judge.protocol import ScoreScale, StoredImageDetector

_LOG = logging.getLogger(__name__)


def calibrated_threshold(judge: StoredImageDetector, scale: ScoreScale, keys: Sequence[str], cap: float) -> Threshold:
    """The threshold of `judge` on `scale`, from the images of `keys`, which do not show the target.

    A scale that is not calibrated scores no image. `cap` holds for an absolute scale alone.
    """
    if not scale.calibrated:
        _LOG.debug("threshold of %r: %.4f, fixed by its scale", judge.reference, scale.lowest)
        return Threshold(scale.lowest, 0)
    scores = judge.target_scores(keys)
    threshold = calibrate(scores, scale.lowest, cap if scale.absolute else None)
    if threshold.set_by is None:
        _LOG.debug(
            "threshold of %r: %.4f, the lowest of its scale; the highest of %d scores is %.4f, of image %s",
            judge.reference, threshold.value, len(keys), scores.max(), keys[int(scores.argmax())],
        )  # fmt: skip
    else:
        image, score = keys[threshold.set_by], float(scores[threshold.set_by])
        name = "the score" if score == threshold.value else f"the cap; {score:.4f} is the score"
        _LOG.debug("threshold of %r: %.4f, %s of image %s (of %d)", judge.reference, threshold.value, name, image, len(keys))
    return threshold
