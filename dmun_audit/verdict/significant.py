"""Numbers for readers: three significant digits, bounds rounded outward, and digits enough to tell a bound from its limit."""

from __future__ import annotations

import math
from collections.abc import Callable

DIGITS = 3
MOST_DIGITS = 7
"""Digits of a bound that would read like its limit with fewer."""

NEARLY_ZERO = 1e-10

Rounding = Callable[[float], float]
"""`round`, `math.ceil` for upper bounds, or `math.floor` for lower bounds."""


def rounded(value: float, towards: Rounding = round, digits: int = DIGITS) -> float:
    """`value` to `digits` significant digits. What is nearly 0 is 0: no rate and no score of an audit is as small."""
    if abs(value) < NEARLY_ZERO:
        return 0.0
    scale = 10.0 ** (digits - 1 - math.floor(math.log10(abs(value))))
    return towards(round(value * scale, 6)) / scale


def told_apart(bound: float, limit: float | None, towards: Rounding) -> float:
    """`bound` to three significant digits, or to the first number of digits with which it is on its own side of `limit`.

    A bound that is equal to its limit, or cannot be told from it with `MOST_DIGITS` digits, has three.
    """
    shown = [rounded(bound, towards, digits) for digits in range(DIGITS, MOST_DIGITS + 1)]
    if limit is None:
        return shown[0]
    return next((value for value in shown if _side(value, limit) == _side(bound, limit)), shown[0])


def _side(value: float, limit: float) -> int:
    """Whether a value is over its limit (1), at it (0) or under it (-1)."""
    return 0 if math.isclose(value, limit, rel_tol=1e-9, abs_tol=NEARLY_ZERO) else 1 if value > limit else -1


def percent(share: float, towards: Rounding = round, limit: float | None = None) -> str:
    """A share as a percentage: "4.72%". A bound is told apart from `limit`."""
    return f"{_hundredfold(share, towards, limit)}%"


def points(difference: float, towards: Rounding = round, limit: float | None = None) -> str:
    """A difference of two shares in percentage points: "4.72 points"."""
    return _with_points(_hundredfold(difference, towards, limit))


def percent_as_given(share: float) -> str:
    """A ceiling or floor with all digits of the policy: 12.34% stays 12.34%."""
    return f"{_as_given(share)}%"


def points_as_given(difference: float) -> str:
    """A margin with all digits of the policy, in percentage points."""
    return _with_points(_as_given(difference))


def _hundredfold(share: float, towards: Rounding, limit: float | None) -> str:
    return f"{told_apart(100.0 * share, None if limit is None else 100.0 * limit, towards):.{MOST_DIGITS}g}"


def _as_given(share: float) -> str:
    return f"{100.0 * share:.{MOST_DIGITS}g}"


def _with_points(text: str) -> str:
    return f"{text} point" if text == "1" else f"{text} points"
