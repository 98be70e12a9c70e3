"""Shares, intervals and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scipy import stats


def exact_interval(hits: int, trials: int) -> tuple[float, float]:
    """The two-sided 95% interval of Clopper and Pearson."""
    interval = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)


def share(hits: int, trials: int) -> str:
    """A share in percent with its exact 95% interval."""
    low, high = exact_interval(hits, trials)
    return f"{percent(hits / trials)} [{percent(low, '')}–{percent(high)}]"


def percent(value: float, sign: str = "%") -> str:
    """A share in percent with two or three digits. A share between 0 and 1 is never rounded to 0% or 100%."""
    scaled = 100 * value
    if 0 < scaled < 0.01:
        return f"<0.01{sign}"
    if 99.99 < scaled < 100:
        return f">99.99{sign}"
    digits = 0 if scaled in (0, 100) else 2 if scaled < 1 or scaled > 99.5 else 1
    return f"{scaled:.{digits}f}{sign}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
