"""Detection and classification from embeddings: pure functions of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOWEST_THRESHOLD = 0.2
CALIBRATION_QUANTILE = 0.99


def label_shares(images: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Softmax over labels of scaled cosine similarity: (n, d) and (k, d) give (n, k), rows summing to one (CLIP, §3.1.2)."""
    logits = scale * (images.astype(np.float64) @ labels.astype(np.float64).T)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


def clip_scores(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosine similarity of each image with its text: (n, d) and (n, d) give (n,), in [-1, 1].

    CLIPScore (Hessel et al. 2021) is 2.5 times this, and torchmetrics reports 100 times it, both cut at zero.
    """
    return (images.astype(np.float64) * texts.astype(np.float64)).sum(axis=1)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two vectors (d,), in [-1, 1]; 0 where one of them has no length."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0


@dataclass(frozen=True)
class Threshold:
    """An image shows the target where its target score is over `value`; calibrated on `images` that do not show it (on none
    where the judge only says yes or no)."""

    value: float
    images: int

    def detects(self, target_scores: np.ndarray) -> list[bool]:
        """Whether each image shows the target, from target scores (n,)."""
        return [bool(score > self.value) for score in target_scores]


def calibrate(target_scores: np.ndarray, lowest: float = LOWEST_THRESHOLD) -> Threshold:
    """The threshold that keeps false positives near 1%: the 99% quantile of target scores of images without the target.

    It is never set under `lowest`, so a judge that is sure of itself keeps rejecting what merely resembles the target a little.
    Raises ValueError without images.
    """
    if len(target_scores) == 0:
        raise ValueError("Calibration needs at least one image that does not show the target.")
    quantile = float(np.quantile(target_scores, CALIBRATION_QUANTILE, method="higher"))
    return Threshold(max(lowest, quantile), len(target_scores))
