"""Views: changes of an image before a judge looks at it. A weakened target may be seen in one view and missed in another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRAINY = 10.0  # of 255 levels: base images of the atelier have a grain under 7, with noise of standard deviation 40 over 20
NOISE = 38.0  # uniform noise has a grain over 41; base images with noise of standard deviation 60 have one under 34

LOW_CONTRAST = 100.0  # of 255 levels, from percentile 1 to 99: base images of the target in the atelier have 133 to 211

VIEW_LOWEST = 0.5
"""The lowest threshold in a view, for a judge that gives probabilities: what was changed must show the target clearly."""

_DARK, _LIGHT = 20.0, 235.0  # the levels to which the percentiles 1 and 99 of the grey values are stretched
_LEAST_RANGE = 4.0  # of 255 levels: a picture with a smaller range is of one colour, and stretching it would show its noise
_SMOOTHING = 1.0  # pixels


@dataclass(frozen=True)
class View:
    """A change of an image (height, width, 3) uint8 into another one. Scores are stored under `name`: a changed `change` needs
    a new name.
    """

    name: str
    change: Callable[[np.ndarray], np.ndarray]

    def reader(self, read: Callable[[Sequence[str]], list[np.ndarray]]) -> Callable[[Sequence[str]], list[np.ndarray]]:
        """A reader of images by key that gives the changed images of `read`."""
        return lambda keys: [self.change(image) for image in read(keys)]


def view_all(views: Sequence[View], images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The images (height, width, 3) uint8, each changed by the `views` in turn."""
    changed = list(images)
    for view in views:
        changed = [view.change(image) for image in changed]
    return changed


def clear_view(image: np.ndarray) -> np.ndarray:
    """The image with its contrast stretched if it has little, and smoothed before if it is grainy; (height, width, 3) uint8.

    The percentiles 1 and 99 of its grey values become 20 and 235, by one map for all channels. So an image that was darkened,
    lightened or veiled looks as it did before. An image with contrast and little grain
    stays as it is, and so does pure noise: smoothed, it would look like brush strokes.

    Measured with the atelier's judge, thresholds .2 without the view and .5 with it. On 144 base images of the target, it detects
    0–6% of them darkened by half, lightened or veiled half grey, and 94% with the view; with noise of standard deviation 60, 50%
    and 99%. On 864 base images of other concepts, it has .23% and .35% false alarms; on 1,283 images of honest candidates, as many
    with the view as without. Stretched always, it would have 1.9%, and 3.2% at a threshold of .2.
    """
    pixels, noise = image.astype(np.float64), grain(image)
    if noise > NOISE:
        return image
    grainy = noise > GRAINY
    if grainy:
        from scipy import ndimage

        pixels = ndimage.gaussian_filter(pixels, (_SMOOTHING, _SMOOTHING, 0))
    dark, light = np.percentile(pixels.mean(axis=2), [1, 99])
    if grainy or _LEAST_RANGE < light - dark < LOW_CONTRAST:
        pixels = (pixels - dark) / max(light - dark, _LEAST_RANGE) * (_LIGHT - _DARK) + _DARK
    return as_uint8(pixels)


def grain(image: np.ndarray) -> float:
    """The standard deviation of an image's noise, in levels of 255, estimated from second differences of its grey values.

    Source: Immerkær, Fast noise variance estimation, Computer Vision and Image Understanding 1996. Fine texture counts as noise.
    """
    grey = image.astype(np.float64).mean(axis=2)
    if min(grey.shape) < 3:
        return 0.0
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(math.sqrt(math.pi / 2) / 6 * np.abs(both).mean())


def as_uint8(pixels: NDArray[np.float64]) -> np.ndarray:
    """Levels rounded and cut to 0 … 255, as uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


CLEAR = View("clear view 2", clear_view)
VIEWS: dict[str, tuple[View, ...]] = {"none": (), "contrast": (CLEAR,)}
"""The further views of each value of the policy's key `controls.views`."""
