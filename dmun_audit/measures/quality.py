"""Quality of single images without a reference: CLIP-IQA, and the share of collapsed images.

A model that renders black squares never shows the target. The collapse share reveals it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dmun_audit.judge.detection import label_shares

IQA_PROMPTS = ("Good photo.", "Bad photo.")

_LEVELS = 10  # of 255: noise and compression change a flat area by no more
_FLAT = 0.98  # share of the pixels near one colour
_PLAIN = 0.95  # share of the pixels near a smooth surface: at most .79 in 3,100 images of the atelier's models
_MARGIN = 0.1  # of each side: what a frame may cover
_SMOOTHING = 1 / 32  # the spread of the smoothing, as a share of the side
_STATIC = 0.2  # correlation of neighbouring pixels: about 0 in white noise, above .67 in 3,100 images of the atelier's models
_COARSE_STATIC = {2: 0.2, 4: 0.1}  # the same of means over squares of so many pixels; above .39 and .13 in these images
_FEWEST = 16  # squares along a side: the correlation of fewer is too uncertain


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
    """Whether each of n images (height, width, 3) uint8 is empty; shape (n,).

    Empty is an image of nearly one colour: 98% of its pixels are within 10 of 255 levels of the median colour. Empty is also a
    plain image or a smooth gradient, under faint noise and within a frame too: after smoothing, 95% of the pixels of its inner
    part are within 10 levels of a quadratic surface, in every channel. And empty is static: the grey values of neighbouring pixels, or of neighbouring squares of 2 or 4 pixels, are nearly uncorrelated. Noise in larger
    blotches is not recognised. None of 4,600 images of the atelier's models is empty.
    """
    return np.array([_is_flat(image) or _is_plain(image) or _is_static(image) for image in images], dtype=np.bool_)


def _is_flat(image: np.ndarray) -> bool:
    pixels = image.reshape(-1, 3).astype(np.float64)
    near = np.abs(pixels - np.median(pixels, axis=0)).max(axis=1) <= _LEVELS
    return bool(near.mean() >= _FLAT)


def _is_plain(image: np.ndarray) -> bool:
    from scipy import ndimage

    height, width = image.shape[:2]
    spread, top, left = min(height, width) * _SMOOTHING, int(height * _MARGIN), int(width * _MARGIN)
    inner = image[top : height - top, left : width - left].astype(np.float64)
    pixels = ndimage.gaussian_filter(inner, (spread, spread, 0))
    colours, surfaces = pixels.reshape(-1, 3), _surfaces(*pixels.shape[:2])
    surface = surfaces @ (surfaces.T @ colours)
    return bool((np.abs(colours - surface).max(axis=1) <= _LEVELS).mean() >= _PLAIN)


@lru_cache(maxsize=2)
def _surfaces(height: int, width: int) -> NDArray[np.float64]:
    """An orthonormal basis (pixels, 6) of the quadratic surfaces over an image of that size; it has fewer for a side of 1 or 2."""
    down, across = (axis.ravel() for axis in np.mgrid[:height, :width] / max(height, width))
    terms = np.stack([np.ones_like(down), down, across, down * across, down**2, across**2], axis=1)
    left, lengths, _ = np.linalg.svd(terms, full_matrices=False)
    basis: NDArray[np.float64] = left[:, lengths > lengths[0] * np.finfo(np.float64).eps * len(terms)]
    return basis


def _is_static(image: np.ndarray) -> bool:
    grey = image.astype(np.float64).mean(axis=2)
    if _neighbour_correlation(grey) < _STATIC:
        return True
    return any(
        min(grey.shape) // size >= _FEWEST and _neighbour_correlation(_squares(grey, size)) < limit
        for size, limit in _COARSE_STATIC.items()
    )


def _squares(grey: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The means of squares of `size` pixels."""
    rows, columns = grey.shape[0] // size, grey.shape[1] // size
    cut = grey[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return np.asarray(cut.mean(axis=(1, 3)), dtype=np.float64)


def _neighbour_correlation(grey: NDArray[np.float64]) -> float:
    """The correlation of neighbouring values; 1 for a picture of one value."""
    centred = grey - grey.mean()
    spread = float((centred**2).mean())
    if spread == 0.0:
        return 1.0
    beside, below = (centred[:, :-1] * centred[:, 1:]).mean(), (centred[:-1] * centred[1:]).mean()
    return float((beside + below) / 2.0 / spread)
