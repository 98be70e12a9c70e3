"""Distances within a set of pictures, and the Fréchet distance between two sets."""

import numpy as np
import pytest
from scipy import linalg

from dmun_audit.measures.frechet import frechet_distance
from dmun_audit.measures.spread import colour_distances, cosine_distances
from dmun_audit.measures.torchmetrics_fid import torchmetrics_fid

RANDOM = np.random.default_rng(0)


def test_the_frechet_distance_is_that_of_two_normal_distributions():
    x, y = RANDOM.normal(size=(200, 5)), 2 * RANDOM.normal(size=(150, 5)) + 1
    s, t = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_it_agrees_with_torchmetrics_where_images_are_fewer_than_dimensions():
    x, y = RANDOM.normal(size=(24, 64)), RANDOM.normal(size=(24, 64)) + 0.3
    assert frechet_distance(x, y) == pytest.approx(torchmetrics_fid(x, y), rel=1e-3)


@pytest.mark.parametrize("shapes", [((1, 4), (5, 4)), ((5, 4), (5, 3))])
def test_sets_that_cannot_be_compared_are_refused(shapes):
    x, y = (np.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match="shape"):
        frechet_distance(x, y)
    with pytest.raises(ValueError, match="shape"):
        torchmetrics_fid(x, y)


def test_distances_within_a_set():
    assert cosine_distances(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).round(9).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    black, grey = np.zeros((32, 48, 3), np.uint8), np.full((32, 48, 3), 100, np.uint8)
    assert colour_distances([black, grey, black]).tolist() == [[0, 100, 0], [100, 0, 100], [0, 100, 0]]


def test_noise_changes_mean_colours_little():
    picture = np.kron(RANDOM.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    noisy = np.clip(picture + RANDOM.normal(0, 15, picture.shape), 0, 255).astype(np.uint8)
    other = picture[::-1].copy()
    distances = colour_distances([picture, noisy, other])
    assert distances[0, 1] < 0.1 * distances[0, 2]
