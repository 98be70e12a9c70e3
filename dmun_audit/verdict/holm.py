"""Holm's step-down adjustment of p-values for many tests (Holm 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmun_audit.verdict.checks import finite_vector


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values in the order given; rejecting those ≤ alpha keeps the family-wise error at alpha.

    It holds for any dependence between the tests. ValueError for a p-value outside [0, 1].
    """
    p = finite_vector(p_values, "p_values")
    if ((p < 0.0) | (p > 1.0)).any():
        raise ValueError("A p-value must lie between 0 and 1.")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(p[order] * np.arange(p.size, 0, -1), 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]
