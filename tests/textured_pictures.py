"""Synthetic pictures with structure: each seed gives another one."""

import zlib

import numpy as np
from scipy import ndimage


def picture(*seed, size=64):
    """A picture (size, size, 3) uint8 of blotches and strokes, decided by `seed`."""
    generator = np.random.default_rng([zlib.crc32(part.encode()) if isinstance(part, str) else part % 2**32 for part in seed])
    light = sum(
        weight * _blotches(generator, (size, size, 1), size / share)
        for share, weight in ((8, 1.0), (24, 0.8), (64, 0.6), (128, 0.5))
    )
    colour = 12 * _blotches(generator, (size, size, 3), size / 8)
    return np.clip(np.rint(118 + 45 * light / light.std() + colour), 0, 255).astype(np.uint8)


def _blotches(generator, shape, spread):
    values = ndimage.gaussian_filter(generator.normal(size=shape), (spread, spread, 0))
    return values / values.std()
