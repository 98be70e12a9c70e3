"""Functions that painters share: noise, flow, smears along a flow, contours, palettes.

All arrays are (n, n) or (n, n, 3), with values in [0, 1].
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def luminance(colour: np.ndarray) -> np.ndarray:
    """Rec. 601 luma (n, n) of colours (n, n, 3)."""
    return colour @ np.array([0.299, 0.587, 0.114], np.float32)


def saturate(colour: np.ndarray, amount: float) -> np.ndarray:
    """Colours moved away from grey by the factor `amount`; a factor below 1 moves them towards grey."""
    grey = luminance(colour)[..., None]
    return np.clip(grey + (colour - grey) * amount, 0, 1)


def mix(one: np.ndarray, other: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """(1 - share) * one + share * other; `share` is a number or an array (n, n)."""
    share = np.asarray(share, np.float32)
    if share.ndim == 2:
        share = share[..., None]
    return one * (1 - share) + other * share


def rgb(*values: int) -> np.ndarray:
    """A colour with values from 0 to 255, as float32 in [0, 1]."""
    return np.array(values, np.float32) / 255


def cloud(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise in about [-1, 1]: interpolated random values, `cells` on each side."""
    coarse = rng.normal(0, 0.6, (cells + 2, cells + 2)).astype(np.float32)
    grown = ndimage.zoom(coarse, size / cells, order=1)
    return grown[:size, :size]


def grain(rng: np.random.Generator, size: int, cell: int) -> np.ndarray:
    """Blocky noise in [-1, 1]: one random value for every `cell` by `cell` pixels."""
    cells = size // cell + 1
    return rng.uniform(-1, 1, (cells, cells)).astype(np.float32).repeat(cell, 0).repeat(cell, 1)[:size, :size]


def smear(texture: np.ndarray, angle: np.ndarray, reach: int) -> np.ndarray:
    """Line integral convolution: the average of `texture` over `reach` pixels along and against the flow `angle` (radians)."""
    size = len(texture)
    along, down = np.cos(angle), np.sin(angle)
    total = texture.copy()
    for way in (1.0, -1.0):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        for _ in range(reach):
            row, column = np.clip(y, 0, size - 1).astype(np.intp), np.clip(x, 0, size - 1).astype(np.intp)
            x = x + way * along[row, column]
            y = y + way * down[row, column]
            total += texture[np.clip(y, 0, size - 1).astype(np.intp), np.clip(x, 0, size - 1).astype(np.intp)]
    return total / (2 * reach + 1)


def contours(part: np.ndarray, width: int) -> np.ndarray:
    """A mask (n, n): True within about `width` / 2 pixels of a border between two parts."""
    edge = np.zeros(part.shape, bool)
    edge[1:] |= part[1:] != part[:-1]
    edge[:, 1:] |= part[:, 1:] != part[:, :-1]
    return ndimage.binary_dilation(edge, iterations=width // 2) if width > 1 else edge


def flatten(colour: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Every part filled with its mean colour."""
    labels = np.unique(part)
    means = np.stack([ndimage.mean(colour[..., k], part, labels) for k in range(3)], axis=-1).astype(np.float32)
    return means[np.searchsorted(labels, part)]


def nearest_of(colour: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Index (n, n) of the palette colour that is closest to each pixel."""
    return ((colour[..., None, :] - palette) ** 2).sum(-1).argmin(-1)


def ramp(value: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The colours of `value` in [0, 1] on a ramp of colours `stops` (k, 3)."""
    place = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(value, place, stops[:, k]) for k in range(3)], axis=-1).astype(np.float32)
