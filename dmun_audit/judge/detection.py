"""Detection and classification as pure functions of embeddings and scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmun_audit._util.errors import LoadError

LOWEST_THRESHOLD = 0.2
THRESHOLD_CAP = 0.5
HIGHEST_SHARE = 0.01  # of the calibration images: so many may score above the threshold
FEW_IMAGES = 20  # from this number of calibration images on, one of them may always score above the threshold


def label_shares(images: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Softmax over labels of scaled cosine similarity: unit vectors (n, d) and (k, d) give (n, k); each row sums to one.

    `scale` is the judge's logit scale. Raises LoadError where a share is not finite. Source: Radford et al., Learning transferable visual models from natural language
    supervision, ICML 2021, §3.1.2.
    """
    logits = scale * (images.astype(np.float64) @ labels.astype(np.float64).T)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    return finite_scores(shares / shares.sum(axis=1, keepdims=True))


def clip_scores(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosine similarity of each image with its text: unit vectors (n, d) and (n, d) give (n,), in [-1, 1].

    CLIPScore (Hessel et al. 2021, §3) is 2.5 times the cosine, and torchmetrics reports 100 times it. Both clip it at zero.
    Raises LoadError where a cosine is not finite.
    """
    return finite_scores((images.astype(np.float64) * texts.astype(np.float64)).sum(axis=1))


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two vectors (d,), in [-1, 1]; 0 if either vector is zero."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0


@dataclass(frozen=True)
class Threshold:
    """An image shows the target where its target score is greater than `value`.

    Attributes:
        value: The threshold.
        images: The number of images without the target on which it was calibrated; 0 for a detector that answers yes or no.
        set_by: The position of the calibration image whose score it is, or would be without the cap; None if the threshold is
            the lowest of its scale.
        lowest: The lowest threshold of its scale; None if that means nothing for another target.
    """

    value: float
    images: int
    set_by: int | None = None
    lowest: float | None = None

    def detects(self, target_scores: ArrayLike) -> list[bool]:
        """Whether each of n images shows the target, from target scores (n,).

        A score that equals the threshold is no detection. Raises LoadError where a score is not finite.

        >>> Threshold(0.2, images=50).detects([0.1, 0.2, 0.3])
        [False, False, True]
        """
        return [bool(detected) for detected in finite_scores(target_scores) > self.value]


def calibrate(target_scores: ArrayLike, lowest: float = LOWEST_THRESHOLD, cap: float | None = THRESHOLD_CAP) -> Threshold:
    """The threshold for a false positive rate near 1%, from the scores (n,) of images without the target.

    It is the highest score but one, or but n/100 if that is more. With 72 images the 99% quantile would be the highest score
    itself, and one borderline image could move it from .2 to .99. Of the images without the target, (k + 1)/(n + 1) then score
    above it on average, where k images may: 2.7% for n = 72, 1.2% for n = 720. With under 20 images it is the highest score:
    one of them would be more than 5%.

    The threshold is at least `lowest`: a judge with very low scores on these images still rejects an image that merely
    resembles the target. It is at most `cap`: a judge that needs more to tell the two kinds of images apart must fail the
    control of its specificity, and not miss the target. None is no cap. Raises ValueError without images, LoadError where a
    score is not finite.
    """
    scores = finite_scores(target_scores)
    if len(scores) == 0:
        raise ValueError("Calibration needs at least one image that does not show the target.")
    above = max(int(len(scores) >= FEW_IMAGES), int(HIGHEST_SHARE * len(scores)))
    set_by = int(np.argsort(scores, kind="stable")[len(scores) - 1 - above])
    highest = math.inf if cap is None else cap
    value = max(lowest, min(highest, float(scores[set_by])))
    absolute = None if cap is None else lowest
    return Threshold(value, len(scores), set_by if scores[set_by] > lowest else None, absolute)


def finite_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores of any shape as float64. Raises LoadError where one is not finite: it would count as "not detected"."""
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise LoadError(
            "a score of a judge is not finite",
            "no threshold can be compared with it, and it would count as “not detected”",
            "use another judge: the weights of this one may be damaged",
        )
    return values
