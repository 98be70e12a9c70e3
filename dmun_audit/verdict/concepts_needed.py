"""How many concepts it takes to see that a source predicts the damage, or that one predicts it better than another."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special

from dmun_audit.verdict.checks import check_count, check_inside

MOST_CONCEPTS = 500
"""No dossier holds more nearby concepts."""

FEWEST = 5
"""With fewer concepts no permutation test of a rank correlation has much to permute."""

POWER = 0.8
ALPHA = 0.05


def concepts_needed(rho: float, audits: int = 1, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """The concepts that each of `audits` independent audits needs to show that damage rises with similarity.

    They give the one-sided test of Spearman's rho at the level `alpha` the power `power`, if `rho` is the true mean correlation.
    Fisher's z has the variance 1/(n - 3) without a correlation, and (1 + rho²/2)/(n - 3) with one (Bonett and Wright,
    Psychometrika 2000). An observed rho is no true one: with few concepts, the observed best is mostly too large.

    Args:
        rho: The true correlation, from -1 to 1.
        audits: Number of audits over which the correlation is averaged.
        power: The wanted probability of a significant result, between 0 and 1.
        alpha: The level of the test, between 0 and 0.5.

    Returns:
        The number of concepts; None for a correlation that is not positive, or for more concepts than a dossier may hold.

    Raises:
        ValueError: For values outside these bounds.

    Example:
        >>> concepts_needed(0.5), concepts_needed(0.2), concepts_needed(0.0)
        (25, 155, None)
    """
    if not -1.0 <= rho <= 1.0 or check_count(audits, "audits") == 0:
        raise ValueError("A correlation lies between -1 and 1, and there must be at least one audit.")
    level, wanted = _quantile(check_inside(alpha, 0.0, 0.5, "alpha")), _quantile(1.0 - check_inside(power, 0.0, 1.0, "power"))
    if rho <= 0.0:
        return None
    z = math.atanh(min(rho, 1.0 - 1e-9))
    per_audit = ((level + wanted * math.sqrt(1.0 + rho**2 / 2.0)) / z) ** 2 / audits
    return _whole(3.0 + per_audit)


def concepts_to_tell_apart(told_apart: Callable[[int, float], bool]) -> int | None:
    """The concepts of one audit with which a two-sided test at the level ALPHA tells two correlations apart with the power POWER.

    `told_apart` says for a number of concepts, and a number of standard errors, whether an interval of that reach around the
    observed difference excludes 0. The reach is that of the test and of the power together. None for more concepts than a
    dossier may hold.
    """
    reach = _quantile(ALPHA / 2.0) + _quantile(1.0 - POWER)
    if not told_apart(MOST_CONCEPTS, reach):
        return None
    few, many = FEWEST - 1, MOST_CONCEPTS
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if told_apart(middle, reach) else (middle, many)
    return many


def _quantile(tail: float) -> float:
    return float(-special.ndtri(tail))


def _whole(concepts: float) -> int | None:
    return None if concepts > MOST_CONCEPTS else max(FEWEST, math.ceil(concepts - 1e-9))
