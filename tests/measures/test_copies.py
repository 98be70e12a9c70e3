"""Altered copies are found whatever was done to them, other pictures are not, and noise hides no repetition."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from textured_pictures import picture

from dmun_audit.measures.copies import COPY_AT, is_copy, likeness, repeats_of
from dmun_audit.measures.weakening import WEAKENINGS, kind_of


def uint8(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noised(image, spread, seed=0):
    return uint8(image + np.random.default_rng(seed).normal(0, spread, image.shape))


ALTERATIONS = {kind_of(view): view.change for view in WEAKENINGS} | {
    "the same": lambda image: image,
    "nearly black": lambda image: uint8(image * 0.3),
    "inverted": lambda image: 255 - image,
    "grey": lambda image: uint8(image.mean(axis=2, keepdims=True).repeat(3, axis=2)),
    "mirrored": lambda image: image[:, ::-1],
    "turned and mirrored": lambda image: np.rot90(image, 3)[::-1],
    "very blurred": lambda image: uint8(ndimage.gaussian_filter(image.astype(float), (3, 3, 0))),
    "very noised": lambda image: noised(image, 60),
    "shrunk in a corner": lambda image: _in_a_corner(image),
    "cropped": lambda image: np.asarray(Image.fromarray(image[9:57, 4:52]).resize((64, 64))),
    "larger": lambda image: np.asarray(Image.fromarray(image).resize((160, 160))),
}


def _in_a_corner(image):
    canvas = np.full_like(image, 30)
    canvas[2:34, 29:61] = np.asarray(Image.fromarray(image).resize((32, 32)))
    return canvas


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_is_a_copy(alteration):
    for seed in range(4):
        original = picture(seed)
        assert is_copy(np.ascontiguousarray(ALTERATIONS[alteration](original)), original)


def test_another_picture_is_no_copy():
    values = [likeness(picture(seed), picture(seed + 1)) for seed in range(30)]
    assert max(values) < COPY_AT - 0.2
    assert not any(is_copy(picture(seed), picture(seed + 1)) for seed in range(30))


def test_the_likeness_is_that_of_which_a_copy_has_enough():
    assert likeness(picture(0), picture(0)) == pytest.approx(1.0)
    assert likeness(np.zeros((64, 64, 3), np.uint8), picture(0)) == 0.0
    assert likeness(picture(0), np.full((64, 64, 3), 90, np.uint8)) == 0.0


def test_repetitions_are_found_under_noise_and_in_turn():
    one, two = picture(1), picture(2)
    assert repeats_of([one, two, picture(3)]) == [False, False]
    assert repeats_of([one, two, one, two]) == [False, True, True]
    assert repeats_of([noised(one, 10, seed) for seed in range(4)]) == [True, True, True]
    assert repeats_of([one]) == []
    assert repeats_of([np.zeros((64, 64, 3), np.uint8)] * 3) == [True, True]
