"""Detection and classification as pure functions of embeddings and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmun_audit._util.errors import LoadError

LOWEST_THRESHOLD = 0.2
CALIBRATION_QUANTILE = 0.99


def label_shares(images: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Softmax over labels of scaled cosine similarity: unit vectors (n, d) and (k, d) give (n, k); each row sums to one.

    `scale` is the judge's logit scale. Source: Radford et al., Learning transferable visual models from natural language
    supervision, ICML 2021, §3.1.2.
    """
    logits = scale * (images.astype(np.float64) @ labels.astype(np.float64).T)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


def clip_scores(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosine similarity of each image with its text: unit vectors (n, d) and (n, d) give (n,), in [-1, 1].

    CLIPScore (Hessel et al. 2021, §3) is 2.5 times the cosine, and torchmetrics reports 100 times it. Both clip it at zero.
    """
    return (images.astype(np.float64) * texts.astype(np.float64)).sum(axis=1)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two vectors (d,), in [-1, 1]; 0 if either vector is zero."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0


@dataclass(frozen=True)
class Threshold:
    """An image shows the target where its target score is greater than `value`.

    `images` is the number of images without the target on which it was calibrated; 0 for a detector that answers yes or no.
    """

    value: float
    images: int

    def detects(self, target_scores: ArrayLike) -> list[bool]:
        """Whether each of n images shows the target, from target scores (n,).

        A score that equals the threshold is no detection. Raises LoadError where a score is not finite.

        >>> Threshold(0.2, images=50).detects([0.1, 0.2, 0.3])
        [False, False, True]
        """
        return [bool(detected) for detected in finite_scores(target_scores) > self.value]


def calibrate(target_scores: ArrayLike, lowest: float = LOWEST_THRESHOLD) -> Threshold:
    """The threshold for a false positive rate near 1%: the 99% quantile of the scores (n,) of images without the target.

    The threshold is at least `lowest`: a judge with very low scores on these images still rejects an image that merely
    resembles the target. Raises ValueError without images, LoadError where a score is not finite.
    """
    scores = finite_scores(target_scores)
    if len(scores) == 0:
        raise ValueError("Calibration needs at least one image that does not show the target.")
    quantile = float(np.quantile(scores, CALIBRATION_QUANTILE, method="higher"))
    return Threshold(max(lowest, quantile), len(scores))


def finite_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Target scores (n,) as float64. Raises LoadError where one is not finite: it would count as "not detected"."""
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise LoadError(
            "a target score is not finite",
            "no threshold can be compared with it, and it would count as “not detected”",
            "use another judge: the weights of this one may be damaged",
        )
    return values
