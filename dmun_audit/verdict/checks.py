"""Checks of numbers: what no audit can produce raises ValueError and never becomes a verdict."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_count(value: int, name: str) -> int:
    """Return `value` as a plain int; ValueError unless it is a whole number that is not negative."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}.") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, but is {number}.")
    return number


def check_hits(hits: int, trials: int) -> tuple[int, int]:
    """Return both as plain ints; ValueError for more hits than trials."""
    few, many = check_count(hits, "hits"), check_count(trials, "trials")
    if few > many:
        raise ValueError(f"There cannot be more hits ({few}) than trials ({many}).")
    return few, many


def check_inside(value: float, low: float, high: float, name: str) -> float:
    """Return `value` as a plain float; ValueError unless low < value < high."""
    number = float(value)
    if not (math.isfinite(number) and low < number < high):
        raise ValueError(f"{name} must lie strictly between {low:g} and {high:g}, but is {number!r}.")
    return number


def check_levels(alpha_pass: float, alpha_fail: float) -> tuple[float, float]:
    """Return both error rates as plain floats; ValueError unless each lies between 0 and one half."""
    return check_inside(alpha_pass, 0.0, 0.5, "alpha_pass"), check_inside(alpha_fail, 0.0, 0.5, "alpha_fail")


def finite_vector(values: ArrayLike | Sequence[Any], name: str) -> NDArray[np.float64]:
    """Return `values` as a float64 vector of shape (n,); ValueError for another shape or a nan or infinity."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be a flat list of numbers, but has shape {vector.shape}.")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, but {int((~np.isfinite(vector)).sum())} of {vector.size} are not.")
    return vector


def finite_matrix(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return `values` as a float64 matrix of shape (n, d); ValueError for another shape or a nan or infinity."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix with one embedding a row, but has shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, but {int((~np.isfinite(matrix)).sum())} numbers are not.")
    return matrix
