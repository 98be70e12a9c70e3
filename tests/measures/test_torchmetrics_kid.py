"""KID by torchmetrics against `verdict.distances.kid`."""

from __future__ import annotations

import subprocess
import sys

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


def test_small_differences_of_single_precision_embeddings_are_kept():
    x = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = x[::-1] * np.float32(0.999)
    assert torchmetrics_kid(x, y) == pytest.approx(kid(x, y), rel=1e-6, abs=1e-13)


def test_it_leaves_the_state_of_torch_s_random_generator():
    x = np.random.default_rng(1).normal(size=(9, 4))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torchmetrics_kid(x, x + 1.0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("left", "right"), [((5, 3), (4, 3)), ((5, 3), (5, 4)), ((1, 3), (1, 3)), ((5,), (5,))])
def test_sets_of_other_shapes_are_refused(left, right):
    with pytest.raises(ValueError, match="one shape"):
        torchmetrics_kid(np.ones(left), np.ones(right))


def test_importing_the_module_loads_neither_torch_nor_torchmetrics():
    code = "import sys, dmun_audit.measures.torchmetrics_kid; print(*({'torch', 'torchmetrics'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
