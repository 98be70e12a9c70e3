"""KID by torchmetrics' own class against ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmun_audit.measures.torchmetrics_kid import torchmetrics_kid
from dmun_audit.verdict.distances import kid


@pytest.mark.parametrize(("n", "d"), [(2, 3), (16, 512), (160, 64)])
def test_torchmetrics_and_our_kid_agree(n, d):
    generator = np.random.default_rng(n)
    x = generator.normal(size=(n, d))
    y = x + 0.5 * generator.normal(size=(n, d)) + 0.2
    assert abs(kid(x, y)) > 1e-3
    assert torchmetrics_kid(x, y) == pytest.approx(kid(x, y), rel=1e-9, abs=1e-12)


def test_it_takes_the_judge_s_single_precision_without_losing_small_differences():
    x = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = x[::-1] * np.float32(0.999)
    assert torchmetrics_kid(x, y) == pytest.approx(kid(x, y), rel=1e-6, abs=1e-13)


def test_it_leaves_torch_s_random_numbers_as_they_were():
    x = np.random.default_rng(1).normal(size=(9, 4))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torchmetrics_kid(x, x + 1.0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("left", "right"), [((5, 3), (4, 3)), ((5, 3), (5, 4)), ((1, 3), (1, 3)), ((5,), (5,))])
def test_sets_that_it_would_sample_or_choke_on_are_refused(left, right):
    with pytest.raises(ValueError, match="one shape"):
        torchmetrics_kid(np.ones(left), np.ones(right))
