"""Holm's adjustment of p-values for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmun_audit.verdict.checks import finite_vector


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests, so that all of them together err with a known probability.

    Each of many tests may err. Holm's method multiplies the smallest of m p-values by m, the next by m - 1, and so on, and
    keeps the order. Guarantee: if every test with an adjusted p-value ≤ alpha is rejected, the probability of even one
    wrong rejection is at most alpha, for any dependence between the tests.
    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.

    Args:
        p_values: The p-values (m,), each from 0 to 1.

    Returns:
        The adjusted p-values in the order of `p_values`, each at most 1.

    Raises:
        ValueError: For a value outside [0, 1].

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    p = finite_vector(p_values, "p_values")
    if ((p < 0.0) | (p > 1.0)).any():
        raise ValueError("A p-value must lie between 0 and 1.")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(p[order] * np.arange(p.size, 0, -1), 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]
