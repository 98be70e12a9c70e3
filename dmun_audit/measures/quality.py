"""Quality of single images without a reference: CLIP-IQA, and the share of collapsed images.

A model that renders black squares never shows the target, and passes every claim on erasure. The collapse share reveals it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dmun_audit.judge.detection import label_shares

IQA_PROMPTS = ("Good photo.", "Bad photo.")

_LEVELS = 10  # of 255: noise and compression change a flat area by no more
_FLAT = 0.98  # share of the pixels near one colour
_STATIC = 0.2  # correlation of neighbouring pixels: about 0 in white noise, above .7 in every image of the atelier


def clip_iqa(images: np.ndarray, prompts: np.ndarray, scale: float) -> NDArray[np.float64]:
    """CLIP-IQA of n images, shape (n,), in [0, 1]: the probability of the first of two prompts. 1 is best.

    `images` (n, d) are the judge's embeddings of the images, `prompts` (2, d) its embeddings of `IQA_PROMPTS`; `scale` is its logit
    scale. Source: Wang et al., Exploring CLIP for assessing the look and feel of images, AAAI 2023, §3.1. The authors remove
    the position embedding of a ResNet-50 CLIP to accept images of any size. Here the judge is unchanged, so values can be
    compared within one judge only: base with candidate. They mean nothing for a judge without such prompts in its training,
    such as the atelier's. Raises ValueError unless there are two prompts.
    """
    if prompts.shape[0] != 2:
        raise ValueError(f"CLIP-IQA compares two prompts, not {prompts.shape[0]}.")
    return np.asarray(label_shares(images, prompts, scale)[:, 0], dtype=np.float64)


def collapsed(images: Sequence[np.ndarray]) -> NDArray[np.bool_]:
    """Whether each of n images (height, width, 3) uint8 is nearly one colour, or static; shape (n,).

    Nearly one colour: 98% of the pixels are within 10 of 255 levels of the median colour. Static: the grey values of
    neighbouring pixels correlate below .2. Decoded latent noise is smoother than that and is not recognised.
    """
    return np.array([_is_flat(image) or _is_static(image) for image in images], dtype=np.bool_)


def collapse_share(images: Sequence[np.ndarray]) -> float:
    """Share in [0, 1] of the images that are `collapsed`. Raises ValueError without images."""
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
