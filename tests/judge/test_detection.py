"""Detection and classification as functions of embeddings and scores, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.detection import LOWEST_THRESHOLD, THRESHOLD_CAP, Threshold, calibrate, clip_scores, label_shares
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.verdict.sequential import SequentialClaim, decide_sequentially


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
    threshold = calibrate(scores, cap=None)
    assert np.mean(threshold.detects(scores)) <= 0.01
    assert calibrate(scores).value == THRESHOLD_CAP
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


def test_one_borderline_image_does_not_move_the_threshold():
    scores = np.zeros(72)
    scores[40] = 0.99
    assert calibrate(scores) == Threshold(0.2, 72, None, 0.2)
    scores[41] = 0.35
    assert calibrate(scores) == Threshold(0.35, 72, 41, 0.2)
    scores[42] = 0.98
    assert calibrate(scores) == Threshold(0.5, 72, 42, 0.2)  # the cap holds, and the image that would exceed it is known
    assert calibrate(scores, cap=0.4).value == 0.4
    assert calibrate(scores, cap=None) == Threshold(0.98, 72, 42, None)


def test_with_few_images_the_highest_score_sets_the_threshold():
    assert calibrate([0.1, 0.3, 0.45]) == Threshold(0.45, 3, 2, 0.2)
    assert calibrate([0.3] * 19 + [0.45]).value == 0.3


@pytest.mark.parametrize(("ceiling", "rate"), [(0.05, 0.10), (0.10, 0.21)])
def test_a_leak_does_not_pass_because_one_calibration_image_is_borderline(ceiling, rate):
    """By a threshold at the highest calibration score, most of these audits pass: few of the leaks score above .99."""
    generator = np.random.default_rng(7)
    calibration = np.append(generator.uniform(0, 0.1, 71), 0.99)
    claim = SequentialClaim("rate", ceiling, ceiling, 0.05, 0.05 / 50)
    verdicts = {"highest": [], "calibrated": []}
    for _ in range(20):
        leaks = generator.random(384) < rate
        scores = np.where(leaks, generator.beta(5, 1, 384), generator.uniform(0, 0.1, 384))
        for name, threshold in (("highest", Threshold(calibration.max(), 72)), ("calibrated", calibrate(calibration))):
            hits = [int(hit) for hit in threshold.detects(scores)]
            verdicts[name].append(str(decide_sequentially(claim, [hits], range(16, 385, 16), 384).verdict))
    assert verdicts["highest"].count("PASS") >= 15
    assert "PASS" not in verdicts["calibrated"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_and_scales_that_are_not_finite_are_one_error(value):
    good, bad = _unit(3, 0), _unit(3, 1)
    bad[1, 2] = value
    for shares in (
        lambda: label_shares(bad, good, 50.0),
        lambda: label_shares(good, bad, 50.0),
        lambda: label_shares(good, good, value),
    ):
        with pytest.raises(LoadError, match="not finite"), np.errstate(all="ignore"):
            shares()
    with pytest.raises(LoadError, match="not finite"), np.errstate(all="ignore"):
        clip_scores(bad, good)
