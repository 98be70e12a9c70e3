"""Detection and classification as functions of embeddings, against their definitions and against torchmetrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit.judge.detection import LOWEST_THRESHOLD, calibrate, clip_scores, label_shares


def _unit(rows, seed):
    values = np.random.default_rng(seed).normal(size=(rows, 8))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 99))
def test_shares_are_a_softmax_of_scaled_cosines(images, labels, seed):
    x, y = _unit(images, seed), _unit(labels, seed + 1)
    shares = label_shares(x, y, 50.0)
    assert shares.shape == (images, labels)
    assert np.allclose(shares.sum(axis=1), 1)
    logits = 50.0 * x.astype(float) @ y.T.astype(float)
    assert np.allclose(np.log(shares[:, :1] / shares), logits[:, :1] - logits)


def test_shares_do_not_overflow():
    assert np.isfinite(label_shares(_unit(3, 0), _unit(3, 0), 1e4)).all()


def test_clip_scores_are_cosines():
    x, y = _unit(5, 0), _unit(5, 1)
    assert np.allclose(clip_scores(x, y), [float(a @ b) for a, b in zip(x, y, strict=True)])


def test_the_threshold_keeps_one_percent_and_is_never_low():
    scores = np.linspace(0, 0.9, 1000)
    threshold = calibrate(scores)
    assert (scores > threshold.value).mean() <= 0.01
    assert calibrate(np.zeros(10)).value == LOWEST_THRESHOLD
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(np.array([]))
