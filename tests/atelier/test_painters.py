"""The painters: same seed, same picture; every style and subject is told apart by plain statistics of pixels."""

import numpy as np
import pytest

from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint


@pytest.mark.parametrize("style", STYLES)
def test_a_picture_is_64_by_64_and_depends_on_the_seed_alone(style):
    first, again, other = (paint(style, "house", seed) for seed in (3, 3, 4))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 2


def _features(picture):
    values = picture.astype(float) / 255
    steps = [np.abs(np.diff(values, axis=axis)).mean(axis=(0, 1)) for axis in (0, 1)]
    rough = [np.abs(np.diff(values, n=2, axis=axis)).mean() for axis in (0, 1)]
    return np.concatenate([values.mean(axis=(0, 1)), values.std(axis=(0, 1)), *steps, rough])


@pytest.mark.slow
def test_styles_are_told_apart_by_colour_and_roughness_alone():
    known = {style: np.stack([_features(paint(style, subject, 0)) for subject in SUBJECTS]) for style in STYLES}
    everything = np.concatenate(list(known.values()))
    scale = everything.std(axis=0)
    right = 0
    for style in STYLES:
        for subject in SUBJECTS:
            seen = _features(paint(style, subject, 777))
            distances = {other: np.linalg.norm((rows - seen) / scale, axis=1).min() for other, rows in known.items()}
            right += min(distances, key=distances.get) == style
    assert right / (len(STYLES) * len(SUBJECTS)) > 0.85


def test_there_are_twelve_styles_and_twelve_subjects():
    assert len(set(STYLES)) >= 12
    assert len(set(SUBJECTS)) >= 12
    with pytest.raises(ValueError, match="nobody"):
        paint("nobody", "house", 0)
