"""Detection and classification as functions of embeddings and scores, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.detection import LOWEST_THRESHOLD, Threshold, calibrate, clip_scores, label_shares
from dmun_audit.judge.protocol import ScoreScale


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
    assert np.mean(threshold.detects(scores)) <= 0.01
    assert calibrate(np.zeros(10)).value == LOWEST_THRESHOLD
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(np.array([]))


def test_a_threshold_detects_what_is_greater():
    threshold = Threshold(0.25, 10)
    assert threshold.detects([0.0, 0.25, np.nextafter(0.25, 1), 0.9]) == [False, False, True, True]
    assert threshold.detects(np.array([])) == []
    assert all(type(detected) is bool for detected in threshold.detects(np.float32([0.1, 0.9])))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_an_error_and_no_missing_detection(score):
    with pytest.raises(LoadError, match="not finite"):
        Threshold(0.25, 10).detects([0.1, score])
    with pytest.raises(LoadError, match="not finite"):
        calibrate(np.array([0.1, score]))


@pytest.mark.parametrize("lowest", [-0.1, 1.1, float("nan"), float("inf")])
def test_the_lowest_threshold_of_a_scale_is_a_score(lowest):
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        ScoreScale(lowest)
