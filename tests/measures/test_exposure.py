"""Exposure: what is unusual of an image beside another one, by name."""

import numpy as np
import pytest
from scipy import ndimage
from textured_pictures import picture

from dmun_audit.measures.exposure import measure_exposure, unusual_exposure


def uint8(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "ways"),
    [
        (lambda image: image, set()),
        (lambda image: image * 0.5, {"brightness", "contrast"}),
        (lambda image: image * 0.5 + 64, {"contrast"}),
        (lambda image: 255 - (255 - image) * 0.3, {"brightness", "contrast"}),
        (lambda image: ndimage.gaussian_filter(image, (2, 2, 0)), {"softness"}),
        (lambda image: image + np.random.default_rng(0).normal(0, 50, image.shape), {"grain"}),
        (lambda image: image * 0.8 + 20, set()),
    ],
)
def test_what_is_unusual_is_named(change, ways):
    usual = picture(5)
    found = set(unusual_exposure(uint8(change(usual.astype(float))), usual))
    assert found >= ways
    assert bool(found) == bool(ways)


def test_another_picture_of_the_same_kind_is_not_unusual():
    assert not any(unusual_exposure(picture(seed), picture(seed + 1)) for seed in range(30))


def test_the_values_are_those_of_the_grey_picture():
    steps = np.zeros((8, 8, 3), np.uint8)
    steps[:, 4:] = 200
    exposure = measure_exposure(steps)
    assert (exposure.brightness, exposure.contrast) == (100.0, 100.0)
    assert measure_exposure(np.full((8, 8, 3), 7, np.uint8)).grain == 0.0
    assert measure_exposure(picture(1, size=512)).brightness == pytest.approx(picture(1, size=512).mean(), abs=1)
