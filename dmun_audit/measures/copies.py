"""Whether an image is an altered copy of another one: darkened, veiled, blurred, noised, recoloured, turned, shrunk or cropped.

Such changes keep the structure of the picture: its grey values, smoothed a little, still rise and fall at the same places. So
the two pictures are compared tile by tile, by the correlation of grey values, which ignores brightness, contrast and sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Grey = NDArray[np.float64]

COPY_AT = 0.8
"""An image is an altered copy of another one from this likeness on.

Measured in the atelier on pairs of the same prompt and seed. On 576 pairs of honest candidates (uce-van-gogh and retrained, 6
audit seeds each) the likeness is at most .72. Base images that were darkened, lightened, veiled, inverted, recoloured, blurred
by 1.5 to 3 pixels of 64, noised (standard deviation 40 to 80), mirrored, turned by 90°, shrunk to half, or cropped to three
quarters reach at least .85.
"""

REPEAT_AT = 3.5
"""An image repeats another one up to this distance.

Measured in the atelier: the images of honest candidates for one prompt and different seeds are at least 5.2 apart, of the base 19.
One picture with fresh noise of standard deviation 20 in every image is 2.9 from itself.
"""

SIDE = 64  # pixels: pictures are compared at this size
SCALES = (0.75, 0.5)  # of the original within the image, or of the image within the original

_TILES = 4  # along each side
_WORST_QUARTER = 0.25  # the quantile over tiles: chance likeness is high in some tiles, the likeness of copies in nearly all
_SMOOTHING = 1.0  # pixels at `SIDE`: noise of single pixels averages out
_BLUR = 2.0  # pixels at `SIDE`, for the comparison with a blurred original
_COARSE = 3.0  # pixels at `SIDE`, for the distance of repeated images
_FLAT = 2.0  # of 255 levels: a tile of the original with a smaller spread has no structure to compare


def likeness(image: np.ndarray, original: np.ndarray) -> float:
    """How much of the structure of `original` is in `image`, both (height, width, 3) uint8; in [0, 1], 1 for the same picture.

    It is the correlation of grey values that three quarters of the tiles reach, for the best of the following: the original or
    its inversion, in 8 orientations, as it is or blurred; or shrunk to ¾ or ½, at the best place within the image; or the image
    shrunk so, within the original. A picture without any structure is like no other: 0.
    """
    return max(_likenesses(image, original))


def is_copy(image: np.ndarray, original: np.ndarray) -> bool:
    """Whether `image` is an altered copy of `original`, both (height, width, 3) uint8: their likeness is at least `COPY_AT`."""
    return any(value >= COPY_AT for value in _likenesses(image, original))


def _likenesses(image: np.ndarray, original: np.ndarray) -> Iterator[float]:
    """The likeness for each orientation, scale and blur; those that take little time first."""
    grey, turned = _grey(image), list(_orientations(_grey(original)))
    tiles = _tiled(grey)
    yield from (_alike(tiles, _tiled(picture)) for picture in turned)
    yield from (_alike(tiles, _tiled(ndimage.gaussian_filter(picture, _BLUR))) for picture in turned)
    whole, wholes = _Whole(grey), [_Whole(picture) for picture in turned]
    for scale in SCALES:
        part = _part(grey, scale)
        for each in wholes:
            yield whole.likeness(_part(each.picture, scale))
            yield each.likeness(part)


def repeats_of(images: Sequence[np.ndarray]) -> list[bool]:
    """For each image (height, width, 3) uint8 but the first: whether it repeats an earlier one.

    The distance of two pictures is the root mean square of the difference of their colours, in levels of 255, after both were
    smoothed. So noise hides no repetition.
    """
    pictures = [ndimage.gaussian_filter(_resized(image, SIDE), (_COARSE, _COARSE, 0)) for image in images]
    return [
        any(float(np.sqrt(((picture - other) ** 2).mean())) <= REPEAT_AT for other in pictures[:place])
        for place, picture in enumerate(pictures)
    ][1:]


@dataclass(frozen=True)
class _Tiled:
    """The tiles of a picture, each centred (tiles, pixels); their lengths as vectors; and which of them have structure."""

    tiles: Grey
    lengths: Grey
    textured: NDArray[np.bool_]


def _tiled(picture: Grey) -> _Tiled:
    """The tiles of a picture (side, side)."""
    side = picture.shape[0] // _TILES
    cut = picture[: side * _TILES, : side * _TILES].reshape(_TILES, side, _TILES, side).swapaxes(1, 2)
    tiles = cut.reshape(_TILES * _TILES, side * side)
    centred = tiles - tiles.mean(axis=1, keepdims=True)
    return _Tiled(centred, np.linalg.norm(centred, axis=1), centred.std(axis=1) > _FLAT)


def _alike(ours: _Tiled, theirs: _Tiled) -> float:
    """The absolute correlation that three quarters of the tiles reach, all with one sign.

    Tiles without structure in `theirs`, the original, do not count.
    """
    if not theirs.textured.any():
        return 0.0
    lengths = ours.lengths * theirs.lengths
    products = (ours.tiles * theirs.tiles).sum(axis=1)
    correlations = np.divide(products, lengths, out=np.zeros(len(lengths)), where=lengths > 1e-9)[theirs.textured]
    return float(max(*np.quantile([correlations, -correlations], _WORST_QUARTER, axis=1), 0.0))


def _orientations(picture: Grey) -> Iterator[Grey]:
    """The picture in its 8 orientations: 4 turns, and their mirror images."""
    for turns in range(4):
        turned = np.rot90(picture, turns)
        yield turned
        yield turned[:, ::-1]


def _part(picture: Grey, scale: float) -> Grey:
    """The picture shrunk by `scale`, and smoothed as a whole one is."""
    return np.asarray(
        ndimage.gaussian_filter(_shrunk(picture, round(SIDE * scale)), _SMOOTHING * math.sqrt(1 - scale**2)), dtype=np.float64
    )


class _Whole:
    """A picture (side, side) in which parts are looked for. What does not depend on the part is computed once."""

    def __init__(self, picture: Grey) -> None:
        self.picture = picture
        self._spectrum = np.fft.rfft2(picture)
        self._spreads: dict[int, Grey] = {}  # by the side of a part: the spread of the grey values at each of its places

    def likeness(self, part: Grey) -> float:
        """The likeness of `part` and the place that correlates with it best."""
        top, left = self._best_place(part)
        side = part.shape[0]
        return _alike(_tiled(self.picture[top : top + side, left : left + side]), _tiled(part))

    def _best_place(self, part: Grey) -> tuple[int, int]:
        """Top and left of the place whose absolute correlation with `part` is largest; by Fourier transforms."""
        shape, places = self.picture.shape, self.picture.shape[0] - part.shape[0] + 1
        spectrum = self._spectrum * np.conj(np.fft.rfft2(part - part.mean(), shape))
        products = np.fft.irfft2(spectrum, shape)[:places, :places]
        scores = np.abs(products) / self._spread(part.shape[0])
        top, left = np.unravel_index(int(scores.argmax()), scores.shape)
        return int(top), int(left)

    def _spread(self, side: int) -> Grey:
        if side not in self._spreads:
            variances = _window_sums(self.picture**2, side) - _window_sums(self.picture, side) ** 2 / side**2
            self._spreads[side] = np.sqrt(np.maximum(variances, 1e-6))
        return self._spreads[side]


def _window_sums(values: Grey, side: int) -> Grey:
    """The sums over all squares of `side` pixels, by their top left corners."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    sums[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    squares: Grey = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return squares


def _grey(image: np.ndarray) -> Grey:
    """The smoothed mean of the colours at `SIDE`, (SIDE, SIDE)."""
    return np.asarray(ndimage.gaussian_filter(_resized(image, SIDE).mean(axis=2), _SMOOTHING), dtype=np.float64)


def _resized(image: np.ndarray, side: int) -> Grey:
    """An image (height, width, 3) at (side, side, 3)."""
    if image.shape[:2] != (side, side):
        image = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))
    return image.astype(np.float64)


def _shrunk(picture: Grey, side: int) -> Grey:
    small = Image.fromarray(picture.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)
