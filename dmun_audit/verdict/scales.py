"""How the numbers of a kind of claim are written: rates in percent, differences of rates in points, scores as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dmun_audit.verdict.significant import (
    MOST_DIGITS,
    Rounding,
    percent,
    percent_as_given,
    points,
    points_as_given,
    told_apart,
)


@dataclass(frozen=True)
class Scale:
    """Writes numbers. `rounded` takes a value, its rounding, and the limit that a bound is told apart from; `as_given` a limit."""

    rounded: Callable[..., str]
    as_given: Callable[[float], str]


def _score(value: float, towards: Rounding = round, limit: float | None = None) -> str:
    return f"{told_apart(value, limit, towards):.{MOST_DIGITS}g}"


RATES = Scale(percent, percent_as_given)
DIFFERENCES = Scale(points, points_as_given)
SCORES = Scale(_score, lambda limit: f"{limit:.{MOST_DIGITS}g}")

_OF_KINDS = {
    "rate_at_most": RATES,
    "rate_at_least": RATES,
    "validity": RATES,
    "weakened": RATES,
    "observation": RATES,
    "paired_accuracy": DIFFERENCES,
    "probe": DIFFERENCES,
    "baseline": DIFFERENCES,
}


def scale_of(kind: str) -> Scale:
    """The scale of a kind of claim. Numbers of unknown kinds are written as they are."""
    return _OF_KINDS.get(kind, SCORES)
