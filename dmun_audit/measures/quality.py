"""How good images look without any to compare them with: CLIP-IQA, and whether they are images at all.

An erased model that answers with black squares shows the target nowhere and passes every claim on erasure, so somebody has
to say that there is nothing in its images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dmun_audit.judge.detection import label_shares

IQA_PROMPTS = ("Good photo.", "Bad photo.")

_LEVELS = 10  # of 255: what a flat area keeps of noise and compression
_FLAT = 0.98  # share of pixels near one colour from which the rest is a speck
_STATIC = 0.2  # correlation of neighbouring pixels: about 0 in white noise, over .7 in every image of the atelier


def clip_iqa(images: np.ndarray, prompts: np.ndarray, scale: float) -> NDArray[np.float64]:
    """Share in [0, 1] that each image (n, d) gives to the first of the two `prompts` (2, d), shape (n,); 1 is best.

    `prompts` are the judge's embeddings of `IQA_PROMPTS`, `scale` is its logit scale. Source: Wang et al., Exploring CLIP for
    assessing the look and feel of images, AAAI 2023, §3.1. They drop the position embedding of a ResNet-50 CLIP, to take
    images of any size; here the judge is as it is, so values compare within one judge only: base with candidate. A judge
    that never read such prompts, as the atelier's, says nothing with it.
    """
    if prompts.shape[0] != 2:
        raise ValueError(f"CLIP-IQA weighs two prompts against each other, not {prompts.shape[0]}.")
    return np.asarray(label_shares(images, prompts, scale)[:, 0], dtype=np.float64)


def collapsed(images: Sequence[np.ndarray]) -> NDArray[np.bool_]:
    """For every image (height, width, 3) uint8 whether it is nearly one colour, or static; shape (n,).

    Nearly one colour: 98% of its pixels lie within 10 of 255 levels of the median colour. Static: grey values of neighbours
    correlate under .2. Noise that went through a decoder is smoother than that, and is not recognised.
    """
    return np.array([_is_flat(image) or _is_static(image) for image in images], dtype=np.bool_)


def collapse_share(images: Sequence[np.ndarray]) -> float:
    """Share in [0, 1] of images that hold nothing, as `collapsed` says. Raises ValueError without images."""
    if not len(images):
        raise ValueError("A share needs at least one image.")
    return float(collapsed(images).mean())


def _is_flat(image: np.ndarray) -> bool:
    pixels = image.reshape(-1, 3).astype(np.float64)
    near = np.abs(pixels - np.median(pixels, axis=0)).max(axis=1) <= _LEVELS
    return bool(near.mean() >= _FLAT)


def _is_static(image: np.ndarray) -> bool:
    grey = image.astype(np.float64).mean(axis=2)
    grey -= grey.mean()
    spread = float((grey**2).mean())
    if spread == 0.0:
        return False
    beside, below = (grey[:, :-1] * grey[:, 1:]).mean(), (grey[:-1] * grey[1:]).mean()
    return bool((beside + below) / 2.0 < _STATIC * spread)
