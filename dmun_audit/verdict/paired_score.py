"""Exact unconditional score test of the claim "p10 - p01 ≤ `margin`" on same-seed pairs.

The candidate loses a pair with probability p10 and wins a pair with probability p01. Each p-value is the largest
probability of an outcome at least as extreme as the observed one, over all p10 and p01 of the hypothesis. So the test is
exact: nothing about it is asymptotic, except the order that says which outcome is more extreme. The order is the
asymptotic score limit for p10 - p01 (Tango, Statistics in Medicine 1998, 17:891). Liu, Hsueh, Hsieh and Chen (Statistics
in Medicine 2002, 21:231) and Sidik (Statistics in Medicine 2003, 22:265) order by the statistic at the margin instead.
With the order by its limit, bounds and tests agree (Buehler, JASA 1957, 52:482).

Two facts make the largest probability computable:

- Tango's statistic does not fall with one more loss, does not rise with one more gain, and falls in the tested difference
  δ. Proof: let p, q, r be the estimates of p10, p01 and the rest under p10 - p01 = δ ≥ 0, β = losses/p and γ = gains/q.
  Then 2nq² - Bq - gains·V = 0 with V = δ(1-δ) and B = losses + gains + δ(losses - gains) - 2nδ, and
  losses - gains - nδ = (β - γ)(q + V/2), 2n = β(1+δ) + γ(1-δ). The three statements follow by differentiation; δ < 0 is
  the mirror image. So the regions of extreme outcomes are nested, and their probability falls in p10 and rises in p01.
  Hence the largest probability over p10 - p01 ≥ δ lies on the line p10 - p01 = δ, and it falls in δ. So p-values are
  monotone in the margin, and bisection gives the bounds `lower` and `upper`.
- One nuisance parameter is left: the position on that line, which the claim does not name. `nuisance.supremum` searches
  the line and never reports a probability that is too small.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_count, check_inside, check_levels
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.nuisance import Region, on_line, supremum
from dmun_audit.verdict.vocabulary import ClaimKind, Verdict

Vector = NDArray[np.float64]
MOST_PAIRS = 10_000  # with more pairs one decision takes minutes
_TINY = 1e-300
_TIE = 1e-9
_STEP = 1e-5  # resolution of the bounds on p10 - p01
_Z_POWER = 1.6448536269514722  # standard normal quantile of the 95% power that `needed` assumes


def safety_p_value(losses: int, gains: int, pairs: int, margin: float, level: float = 0.05) -> float:
    """p-value against "p10 - p01 ≥ `margin`", for -1 < margin < 1: a small one proves that the loss is under the margin.

    Exact for independent pairs that share p10 and p01; `score_loss_at_most` says what holds for pooled prompts. Rounded up.
    `level` is the level of the score limits that order the outcomes. It must be fixed in advance; the power is largest at
    this error rate.
    """
    margin, level = _check(losses, gains, pairs, margin), check_inside(level, 0.0, 0.5, "level")
    return 1.0 if pairs == 0 else supremum(_as_safe(losses, gains, pairs, level), margin)[0]


def harm_p_value(losses: int, gains: int, pairs: int, margin: float, level: float = 0.05) -> float:
    """p-value against "p10 - p01 ≤ `margin`": a small one refutes the claim. The mirror of `safety_p_value`."""
    return safety_p_value(gains, losses, pairs, -margin, level)


def allowed_losses_by_score(pairs: int, margin: float, alpha: float = 0.05, gains: int = 0) -> int:
    """The largest number of lost pairs with which `score_loss_at_most` passes.

    Args:
        pairs: Number of pairs.
        margin: The limit of the claim, from 0 up to 1.
        alpha: Error rate of a PASS.
        gains: Number of pairs that the candidate won.

    Returns:
        The number of lost pairs; -1 if not even 0 lost pairs prove the claim.

    Raises:
        ValueError: For numbers that cannot be.

    Example:
        >>> allowed_losses_by_score(160, margin=0.15)
        16
    """
    last = pairs - check_count(gains, "gains")
    return bounds.smallest(lambda losses: safety_p_value(losses, gains, pairs, margin, alpha) > alpha, 0, last) - 1


def score_loss_at_most(
    losses: int, gains: int, pairs: int, margin: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05
) -> Decision:
    """Decide the claim "p10 - p01 ≤ `margin`" by an exact unconditional score test; it has more power than the bound.

    Rule: PASS if `safety_p_value` is at most `alpha_pass`; FAIL if `harm_p_value` is under `alpha_fail`. Source: Tango,
    Statistics in Medicine 1998; the exact test and its proof are in `dmun_audit.verdict.paired_score`.

    Guarantee: for pairs that share p10 and p01, such as one prompt over its seeds, a false claim becomes PASS with a
    probability of at most `alpha_pass`, and a true claim becomes FAIL with a probability of at most `alpha_fail`.

    Not guaranteed: pooled prompts that differ; `accuracy_loss_at_most` has a guarantee for them. Exact convolutions over
    random and adversarial mixtures, with an average p10 - p01 at the margin, found no excess where gains are rare. The
    worst mixtures pool prompts that lose or win every pair with prompts that never change; this fixes losses + gains.
    The largest error rates found are 6.7% instead of 5% (.84% instead of .5%) with 16 pairs at margin .15, 5.4% with 160
    pairs (5.8% at margin .05), and 5.1% with 3,200 pairs at margin .05.

    Power: at 5% and margin .15, 160 pairs may have 16, 19 or 31 losses beside 0, 5 or 20 gains; `accuracy_loss_at_most`
    allows 15, 16 or 25.

    Args:
        losses: Number of pairs that the candidate lost.
        gains: Number of pairs that the candidate won.
        pairs: Number of independent pairs, at most `MOST_PAIRS`, fixed in advance.
        margin: The limit of the claim, from 0 up to 1.
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.

    Returns:
        The decision. `needed` is a normal approximation from (losses + ½)/(pairs + 1) and gains/pairs, with a power of 95%
        and half of `alpha_pass`.

    Raises:
        ValueError: For counts or rates that cannot be, and for more than `MOST_PAIRS` pairs.

    Example:
        >>> score_loss_at_most(16, 0, 160, margin=0.15).verdict
        <Verdict.PASS: 'PASS'>
    """
    margin = _check(losses, gains, pairs, margin)
    if margin < 0.0:
        raise ValueError(f"margin must lie between 0 and 1, but is {margin!r}.")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    p_safe = safety_p_value(losses, gains, pairs, margin, alpha_pass)
    p_harm = harm_p_value(losses, gains, pairs, margin, alpha_fail)
    verdict = Verdict.PASS if p_safe <= alpha_pass else Verdict.FAIL if p_harm < alpha_fail else Verdict.INCONCLUSIVE
    return Decision(
        kind=ClaimKind.PAIRED_ACCURACY,
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
        needed=_pairs_needed(losses, gains, pairs, margin, alpha_pass / 2.0) if verdict == Verdict.INCONCLUSIVE else None,
    )


def score_interval(losses: int, gains: int, pairs: int, level: float = 0.05) -> tuple[float, float]:
    """Two-sided interval of p10 - p01 with a confidence of 1 - `level`: Tango's asymptotic score limits.

    All differences that Tango's statistic does not reject at half of `level` on each side. An approximation for pairs that share
    p10 and p01, without a proven coverage: use it for figures that decide nothing. Without pairs it is (-1, 1).
    Source: Tango, Statistics in Medicine 1998, 17:891.

    Raises ValueError for counts that cannot be, for a level that is not between 0 and 1, and for more than `MOST_PAIRS` pairs.

    Example:
        >>> lower, upper = score_interval(0, 14, 64)
        >>> round(lower, 3), round(upper, 3)
        (-0.334, -0.135)
    """
    _check(losses, gains, pairs, 0.0)
    half = check_inside(level, 0.0, 1.0, "level") / 2.0
    return -_score_limit(gains, losses, pairs, half), _score_limit(losses, gains, pairs, half)


def score_statistic(losses: Vector | np.float64, gains: Vector | np.float64, pairs: int, margin: float) -> Vector:
    """Tango's statistic of p10 - p01 = `margin`, for arrays of counts that broadcast; negative for fewer losses."""
    size = abs(margin)
    more, fewer = (losses, gains) if margin >= 0.0 else (gains, losses)
    spread, slope = size * (1.0 - size), more + fewer + size * (more - fewer) - 2.0 * pairs * size
    root = np.sqrt(slope * slope + 8.0 * pairs * fewer * spread)
    nuisance = np.where(slope >= 0.0, slope + root, 8.0 * pairs * fewer * spread / np.maximum(root - slope, _TINY))
    deviation = np.sqrt(nuisance / 2.0 + pairs * spread)
    return np.asarray((losses - gains - pairs * margin) / np.maximum(deviation, 1e-150), dtype=np.float64)


@lru_cache(maxsize=64)
def _as_safe(losses: int, gains: int, pairs: int, level: float) -> Region:
    """The outcomes at least as safe as the observed one: their asymptotic upper limit at `level` is not larger."""
    goal, limit = -float(special.ndtri(1.0 - level)), _score_limit(losses, gains, pairs, level)
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


def _score_limit(losses: int, gains: int, pairs: int, level: float) -> float:
    """The asymptotic upper limit of p10 - p01 at the one-sided `level`."""
    goal = -float(special.ndtri(1.0 - level))
    seen = np.float64(losses), np.float64(gains)
    below, limit = -1.0, 1.0
    for _ in range(60):
        middle = (below + limit) / 2.0
        below, limit = (below, middle) if score_statistic(*seen, pairs, middle) <= goal else (middle, limit)
    return limit


def _largest_difference(losses: int, gains: int, pairs: int, margin: float, alpha: float, proven: bool) -> float:
    """Upper bound on p10 - p01 at `alpha`; it is at or under `margin` if and only if the claim is `proven`.

    Bisects the largest probability over a few angles, then checks the result over all angles. If the check finds a larger
    probability, the angle of its peak is added and the bisection is repeated.
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
    """Number of pairs at which the claim passes with a power of about 95%, by a normal approximation with a continuity correction."""
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
    """The maximum likelihood estimate of p01 under p10 - p01 = `margin` ≥ 0."""
    slope = p10 + p01 + margin * (p10 - p01) - 2.0 * margin
    return (slope + math.sqrt(slope**2 + 8.0 * p01 * margin * (1.0 - margin))) / 4.0


def _check(losses: int, gains: int, pairs: int, margin: float) -> float:
    losses, gains, pairs = check_count(losses, "losses"), check_count(gains, "gains"), check_count(pairs, "pairs")
    if losses + gains > pairs:
        raise ValueError(f"{losses} losses and {gains} gains do not fit into {pairs} pairs.")
    if pairs > MOST_PAIRS:
        raise ValueError(f"The exact score test takes at most {MOST_PAIRS:,} pairs, not {pairs:,}.")
    return check_inside(margin, -1.0, 1.0, "margin")
