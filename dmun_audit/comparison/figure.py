"""One figure of one run in a table of methods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure of one run.

    Attributes:
        value: The figure; None if the run does not have it.
        lower: Its lower bound, if it has one.
        upper: Its upper bound, if it has one.
        percent: Whether it is a share or a difference of shares, shown hundredfold.
        mark: A verdict that is no PASS, or a name.
        pairs: Of a metric that is only reported, the number of pairs of images on which it rests.
        points: Whether such a figure is a difference of shares, shown in percentage points.
        limit: The limit of the claim behind it, if there is one. Its bounds are told apart from it.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    percent: bool = True
    mark: str = ""
    pairs: int | None = None
    points: bool = False
    limit: float | None = None
