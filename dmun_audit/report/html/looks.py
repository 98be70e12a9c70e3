"""A small chart of the looks of a claim that may stop early: the rate at each look, against the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.report.formatting import percent

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 260.0, 84.0, 38.0, 252.0, 8.0, 62.0
"""The drawing, in SVG units."""

RATES = frozenset({"rate_at_most", "paired_accuracy"})


@dataclass(frozen=True)
class LooksDrawing:
    """`points` are (x, y) of each look, `limit` is the y of the ceiling or margin, and `low` and `high` are the y of the last bounds."""

    points: tuple[tuple[float, float], ...]
    limit: float
    low: float
    high: float
    levels: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    description: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    bottom: float = BOTTOM

    @property
    def line(self) -> str:
        """The points as an SVG polyline has them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


def looks_of(run: Run, record: CaseRecord) -> LooksDrawing | None:
    """The chart of a claim over a whole group; None for one that had a single look, or whose looks do not follow from single cases."""
    claim = record.claim
    if not record.pooled or claim is None or claim.kind not in RATES or len(claim.looks) < 2 or claim.threshold is None:
        return None
    if claim.lower is None or claim.upper is None:
        return None
    rates = _rates(claim, _outcomes(run, record, claim))
    return _drawn(claim, rates, claim.threshold, claim.lower, claim.upper) if rates else None


def _outcomes(run: Run, record: CaseRecord, claim: ClaimRecord) -> list[tuple[int, ...]]:
    """The outcomes of the single cases that the claim is about."""
    singles = [case for case in run.of_group(record.group) if not case.pooled and not case.verdict.is_untested and case.claim]
    return [case.claim.outcomes for case in singles if case.claim and case.claim.kind == claim.kind and case.claim.outcomes]


def _rates(claim: ClaimRecord, outcomes: Sequence[Sequence[int]]) -> list[float]:
    """The net rate at each look, from as many outcomes of each case as rounds were drawn by then; empty if they do not fit the claim."""
    rates = []
    for look in claim.looks:
        rounds, rest = divmod(look, len(outcomes)) if outcomes else (0, 1)
        if rest or any(len(each) < rounds for each in outcomes):
            return []
        rates.append(sum(sum(each[:rounds]) for each in outcomes) / look)
    fits = claim.estimate is not None and rates and abs(rates[-1] - claim.estimate) < 1e-9
    return rates if fits else []


def _drawn(claim: ClaimRecord, rates: Sequence[float], limit: float, low: float, high: float) -> LooksDrawing:
    bottom, top = min(0.0, low, *rates), max(limit, high, *rates)

    def up(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom), 2)

    def across(images: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * images / max(claim.looks[-1], 1), 2)

    told = ", ".join(f"{percent(rate)} after {look}" for look, rate in zip(claim.looks, rates, strict=True))
    return LooksDrawing(
        points=tuple((across(look), up(rate)) for look, rate in zip(claim.looks, rates, strict=True)),
        limit=up(limit),
        low=up(low),
        high=up(high),
        levels=((up(bottom), percent(bottom)), (up(limit), percent(limit))),
        ticks=tuple((across(look), str(look)) for look in (claim.looks[0], claim.looks[-1])),
        description=f"The rate at each look: {told}. The limit is {percent(limit)}.",
    )
