"""Distances between the pictures of one set: how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CELLS = 16
"""The side of the grid of mean colours. Noise hardly changes a mean, and another picture changes many."""


def cosine_distances(embeddings: np.ndarray) -> NDArray[np.float64]:
    """1 - cosine of every two of n embeddings, unit vectors (n, d): a matrix (n, n), in [0, 2]."""
    vectors = np.asarray(embeddings, dtype=np.float64)
    return np.asarray(np.clip(1.0 - vectors @ vectors.T, 0.0, 2.0), dtype=np.float64)


def colour_distances(images: Sequence[np.ndarray]) -> NDArray[np.float64]:
    """Root mean square difference of the mean colours of every two of n images, in levels of 255: a matrix (n, n).

    An image (height, width, 3) uint8 is divided into 16 × 16 cells, of which each has one mean colour.
    """
    colours = np.stack([_mean_colours(image) for image in images])
    differences = colours[:, None, :] - colours[None, :, :]
    return np.asarray(np.sqrt((differences**2).mean(axis=2)), dtype=np.float64)


def _mean_colours(image: np.ndarray) -> NDArray[np.float64]:
    from PIL import Image

    small = Image.fromarray(image).resize((CELLS, CELLS), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64).ravel()
