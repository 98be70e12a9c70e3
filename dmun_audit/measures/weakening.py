"""Weakenings: changes after which a picture still shows the target to a person, and a judge may miss it. All deterministic."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from dmun_audit.judge.views import View, as_uint8

_GREY = 128
_NOISE = 50.0  # the standard deviation of the noise, in levels of 255
_BLUR = 1 / 32  # the standard deviation of the blur, as a share of the side: 2 pixels of 64


def darkened(image: np.ndarray) -> np.ndarray:
    """The image at half its brightness."""
    return as_uint8(image * 0.5)


def veiled(image: np.ndarray) -> np.ndarray:
    """The image under a veil: the mean of it and grey."""
    return as_uint8((image.astype(np.float64) + _GREY) / 2)


def blurred(image: np.ndarray) -> np.ndarray:
    """The image blurred by 1/32 of its side."""
    spread = min(image.shape[:2]) * _BLUR
    return as_uint8(ndimage.gaussian_filter(image.astype(np.float64), (spread, spread, 0)))


def noised(image: np.ndarray) -> np.ndarray:
    """The image with noise of standard deviation 50, the same for all images of one size."""
    return as_uint8(image + np.random.default_rng(0).normal(0.0, _NOISE, image.shape))


def shrunk(image: np.ndarray) -> np.ndarray:
    """The image at half its size, in the middle of grey."""
    height, width = image.shape[:2]
    small = np.asarray(Image.fromarray(image).resize((width // 2, height // 2), Image.Resampling.BICUBIC))
    canvas = np.full_like(image, _GREY)
    canvas[height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2] = small
    return canvas


def recoloured(image: np.ndarray) -> np.ndarray:
    """The image with its channels exchanged: red becomes green, green becomes blue, blue becomes red."""
    return np.ascontiguousarray(image[..., [2, 0, 1]])


def rotated(image: np.ndarray) -> np.ndarray:
    """The image turned by 90° counter-clockwise."""
    return np.ascontiguousarray(np.rot90(image))


WEAKENINGS: tuple[View, ...] = tuple(
    View(f"{change.__name__} 1", change) for change in (darkened, veiled, blurred, noised, shrunk, recoloured, rotated)
)
"""All weakenings. The first word of a name is the kind, such as "darkened"."""


def kind_of(weakening: View) -> str:
    """The kind of a weakening in words, such as "darkened"."""
    return weakening.name.split()[0]
