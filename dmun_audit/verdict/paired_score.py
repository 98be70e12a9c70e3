"""Exact unconditional score test of "the candidate loses at most `margin` more than it gains" on same-seed pairs.

A pair is lost with probability p10 and won with p01. Outcomes are ordered by their asymptotic score limit for p10 - p01
(Tango, Statistics in Medicine 1998, 17:891), and a p-value is the largest probability, over all p10 and p01 of the null,
of an outcome at least as extreme (as in Liu, Hsueh, Hsieh and Chen, Statistics in Medicine 2002, 21:231, and Sidik,
Statistics in Medicine 2003, 22:265, which order by the statistic at the margin; the order by its limit makes bounds and
tests one thing: Buehler, JASA 1957, 52:482). Nothing is asymptotic but the order, and no grid can miss the peak:

- Tango's statistic rises or stays with one loss more, falls or stays with one gain more, and falls in the difference δ
  that it tests. (Let p, q, r be the estimates of p10, p01 and the rest under p10 - p01 = δ ≥ 0, β = losses/p and
  γ = gains/q. Then 2nq² - Bq - gains·V = 0 with V = δ(1-δ) and B = losses + gains + δ(losses - gains) - 2nδ, and
  losses - gains - nδ = (β - γ)(q + V/2), 2n = β(1+δ) + γ(1-δ); all three follow by differentiating. δ < 0 is the mirror.)
  So regions are nested, and their probability falls in p10 and rises in p01: its supremum over the two-dimensional null
  p10 - p01 ≥ δ lies on the line p10 - p01 = δ. The nulls are nested too, so it falls in δ, p-values are monotone in the
  margin, and `lower` and `upper` come from exact bisection: no hull is needed.
- On that line the supremum is found by a certified search, `nuisance.supremum`, never reported too small.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_count, check_inside, check_levels
from dmun_audit.verdict.claims import Decision, Verdict
from dmun_audit.verdict.nuisance import Region, on_line, supremum

Vector = NDArray[np.float64]
MOST_PAIRS = 10_000  # beyond it one decision would take minutes
_TINY = 1e-300
_TIE = 1e-9
_STEP = 1e-5  # resolution of the bounds on p10 - p01
_Z_POWER = 1.6448536269514722  # standard normal quantile of the 95% power that `needed` supposes


def safety_p_value(losses: int, gains: int, pairs: int, margin: float, level: float = 0.05) -> float:
    """The p-value against "p10 - p01 ≥ `margin`", -1 < margin < 1: a small one proves that the loss is under the margin.

    Exact for independent pairs with common p10 and p01; see `score_loss_at_most` for pooled pairs. Rounded up. `level`,
    fixed in advance, is that of the score limits which order the outcomes: the error rate at which power matters.
    """
    margin, level = _check(losses, gains, pairs, margin), check_inside(level, 0.0, 0.5, "level")
    return 1.0 if pairs == 0 else supremum(_as_safe(losses, gains, pairs, level), margin)[0]


def harm_p_value(losses: int, gains: int, pairs: int, margin: float, level: float = 0.05) -> float:
    """The p-value against "p10 - p01 ≤ `margin`": a small one refutes the claim. The mirror of `safety_p_value`."""
    return safety_p_value(gains, losses, pairs, -margin, level)


def allowed_losses(pairs: int, margin: float, alpha: float = 0.05, gains: int = 0) -> int:
    """Largest number of lost pairs that still proves p10 - p01 ≤ `margin` beside `gains` won ones; -1 when none."""
    last = pairs - check_count(gains, "gains")
    return bounds.smallest(lambda losses: safety_p_value(losses, gains, pairs, margin, alpha) > alpha, 0, last) - 1


def score_loss_at_most(
    losses: int, gains: int, pairs: int, margin: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05
) -> Decision:
    """Decide the claim "p10 - p01 ≤ `margin`" from `losses` and `gains` among `pairs` independent same-seed pairs.

    PASS when `safety_p_value` is at most `alpha_pass`, FAIL when `harm_p_value` is under `alpha_fail`. `needed` is a
    normal approximation from (losses + ½)/(pairs + 1) and gains/pairs at alpha_pass/2 and a power of 95%. ValueError for
    impossible numbers and for more than `MOST_PAIRS` pairs.

    Its power: at 5% and margin .15, 160 pairs may lose 16, 19 or 31 beside 0, 5 or 20 gains, where
    `paired.accuracy_loss_at_most` allows 15, 16 or 25.

    Pooled prompts: the level is proven for pairs that share p10 and p01, such as one prompt's over its seeds. It is not
    for prompts that differ, unlike that of `paired.accuracy_loss_at_most`. Exact convolutions over random and adversarial
    mixtures with an average p10 - p01 at the margin found no excess where gains are rare. But prompts whose every pair
    is lost or won, pooled with prompts of which no pair changes, fix losses + gains, and the steps between their counts
    no longer average out: the largest sizes found are 6.7% instead of 5% (.84% instead of .5%) at 16 pairs and margin
    .15, 5.4% at 160 (5.8% at margin .05) and 5.1% at 3,200 and margin .05.
    """
    margin = _check(losses, gains, pairs, margin)
    if margin < 0.0:
        raise ValueError(f"margin must lie between 0 and 1, but is {margin!r}.")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    p_safe = safety_p_value(losses, gains, pairs, margin, alpha_pass)
    p_harm = harm_p_value(losses, gains, pairs, margin, alpha_fail)
    verdict: Verdict = "PASS" if p_safe <= alpha_pass else "FAIL" if p_harm < alpha_fail else "INCONCLUSIVE"
    return Decision(
        verdict=verdict,
        estimate=(losses - gains) / pairs if pairs else None,
        lower=-_largest_difference(gains, losses, pairs, -margin, alpha_fail, p_harm < alpha_fail),
        upper=_largest_difference(losses, gains, pairs, margin, alpha_pass, p_safe <= alpha_pass),
        threshold=margin,
        alpha_pass=alpha_pass,
        alpha_fail=alpha_fail,
        trials=pairs,
        hits=losses,
        gains=gains,
        p_refuted=p_harm,
        refutable=harm_p_value(pairs, 0, pairs, margin, alpha_fail) < alpha_fail,
        needed=_pairs_needed(losses, gains, pairs, margin, alpha_pass / 2.0) if verdict == "INCONCLUSIVE" else None,
    )


def score_statistic(losses: Vector | np.float64, gains: Vector | np.float64, pairs: int, margin: float) -> Vector:
    """Tango's statistic of p10 - p01 = `margin`, negative where fewer were lost; arrays of counts that broadcast."""
    size = abs(margin)
    more, fewer = (losses, gains) if margin >= 0.0 else (gains, losses)
    spread, slope = size * (1.0 - size), more + fewer + size * (more - fewer) - 2.0 * pairs * size
    root = np.sqrt(slope * slope + 8.0 * pairs * fewer * spread)
    nuisance = np.where(slope >= 0.0, slope + root, 8.0 * pairs * fewer * spread / np.maximum(root - slope, _TINY))
    deviation = np.sqrt(nuisance / 2.0 + pairs * spread)
    return np.asarray((losses - gains - pairs * margin) / np.maximum(deviation, 1e-150), dtype=np.float64)


@lru_cache(maxsize=64)
def _as_safe(losses: int, gains: int, pairs: int, level: float) -> Region:
    """The outcomes whose asymptotic upper limit at `level` is at most that of the one seen; ties belong to them."""
    goal = -float(special.ndtri(1.0 - level))
    seen = np.float64(losses), np.float64(gains)
    below, limit = -1.0, 1.0
    for _ in range(60):
        middle = (below + limit) / 2.0
        below, limit = (below, middle) if score_statistic(*seen, pairs, middle) <= goal else (middle, limit)
    if limit == 1.0:
        return Region(pairs, pairs - np.arange(pairs + 1))
    others = np.arange(pairs + 1)
    low, high = np.full(pairs + 1, -1), pairs - others
    while (low < high).any():
        middle_losses = (low + high + 1) // 2
        score = score_statistic(np.maximum(middle_losses, 0).astype(np.float64), others.astype(np.float64), pairs, limit)
        inside = score <= goal + _TIE
        low, high = np.where(inside, middle_losses, low), np.where(inside, high, middle_losses - 1)
    return Region(pairs, np.minimum(np.maximum.accumulate(low), pairs - others))


def _largest_difference(losses: int, gains: int, pairs: int, margin: float, alpha: float, proven: bool) -> float:
    """Upper bound on p10 - p01 at `alpha`; at or under `margin` exactly where that is `proven`.

    Bisects the largest probability at some angles, then certifies over all; an angle that was missed joins in.
    """
    if pairs == 0 or (losses, gains) == (pairs, 0):
        return 1.0
    region = _as_safe(losses, gains, pairs, alpha)
    low, high = (-1.0, margin) if proven else (margin, 1.0)
    angles, step = np.linspace(0.0, math.pi, 25), _STEP
    while True:
        first, last = low, high
        while last - first > _STEP:
            middle = (first + last) / 2.0
            if (region.probability(*on_line(angles, middle)) > alpha).any():
                first = middle
            else:
                last = middle
        certain = last + step
        if certain >= high:
            return high if proven else 1.0
        bound, missed = supremum(region, certain)
        if bound <= alpha:
            return certain
        angles, low, step = np.append(angles, missed), first, step * 2.0


def _pairs_needed(losses: int, gains: int, pairs: int, margin: float, alpha: float) -> int | None:
    """Pairs at which the claim passes with a power of about 95%, by the normal approximation with half a pair to spare."""
    p10, p01 = (losses + 0.5) / (pairs + 1.0), gains / pairs if pairs else 0.0
    gap = margin - (p10 - p01)
    if gap <= 0.0:
        return None
    at_null = margin - margin**2 + 2.0 * _nuisance(p10, p01, margin)
    at_estimate = max(0.0, p10 + p01 - (p10 - p01) ** 2)
    reach = float(special.ndtri(1.0 - alpha)) * math.sqrt(at_null) + _Z_POWER * math.sqrt(at_estimate)
    needed = math.ceil((reach / gap) ** 2 + 1.0 / gap)
    return needed if needed <= bounds.MOST_IMAGES else None


def _nuisance(p10: float, p01: float, margin: float) -> float:
    """The constrained estimate of p01 where p10 - p01 is `margin` ≥ 0."""
    slope = p10 + p01 + margin * (p10 - p01) - 2.0 * margin
    return (slope + math.sqrt(slope**2 + 8.0 * p01 * margin * (1.0 - margin))) / 4.0


def _check(losses: int, gains: int, pairs: int, margin: float) -> float:
    losses, gains, pairs = check_count(losses, "losses"), check_count(gains, "gains"), check_count(pairs, "pairs")
    if losses + gains > pairs:
        raise ValueError(f"{losses} losses and {gains} gains do not fit into {pairs} pairs.")
    if pairs > MOST_PAIRS:
        raise ValueError(f"The exact score test takes at most {MOST_PAIRS:,} pairs, not {pairs:,}.")
    return check_inside(margin, -1.0, 1.0, "margin")
