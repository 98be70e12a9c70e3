"""Non-inferiority of the candidate on same-seed pairs: CLIP accuracy (paired binary) and CLIP score (paired mean).

A pair is lost when base is right and the candidate wrong (probability p10), won in the reverse case (p01). The pooled
claim is p10 - p01 ≤ margin. McNemar's test does not speak of it: its null is p10 = p01.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit.verdict import bounded_mean, bounds
from dmun_audit.verdict.checks import check_count, check_inside, check_levels, finite_vector
from dmun_audit.verdict.claims import Decision, judge_against

SCORE_CLIP = 0.2
_Z_95 = 1.6448536269514722  # standard normal quantile of the 95% power that `needed` supposes
_SMALLEST_LEVEL = 1e-300


def count_pairs(base_correct: Sequence[bool], candidate_correct: Sequence[bool]) -> tuple[int, int, int]:
    """Return (losses, gains, pairs) of two equally long lists of judgements on same-seed images."""
    base, candidate = np.asarray(base_correct), np.asarray(candidate_correct)
    if base.ndim != 1 or base.shape != candidate.shape:
        raise ValueError(f"Pairs need two flat lists of one length, not shapes {base.shape} and {candidate.shape}.")
    if not (np.isin(base, (0, 1)).all() and np.isin(candidate, (0, 1)).all()):
        raise ValueError("A judgement of a pair must be true or false.")
    base, candidate = base.astype(bool), candidate.astype(bool)
    return int((base & ~candidate).sum()), int((~base & candidate).sum()), int(base.size)


def loss_upper_bound(losses: int, gains: int, pairs: int, alpha: float = 0.05) -> float:
    """Upper bound on p10 - p01: the exact upper bound on p10 less the exact lower one on p01, each at alpha/2."""
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    return bounds.upper_bound(losses, pairs, alpha / 2.0) - bounds.lower_bound(gains, pairs, alpha / 2.0)


def loss_lower_bound(losses: int, gains: int, pairs: int, alpha: float = 0.05) -> float:
    """Lower bound on p10 - p01: the exact lower bound on p10 less the exact upper one on p01, each at alpha/2."""
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    return bounds.lower_bound(losses, pairs, alpha / 2.0) - bounds.upper_bound(gains, pairs, alpha / 2.0)


def allowed_losses(pairs: int, margin: float, alpha: float = 0.05, gains: int = 0) -> int:
    """Largest number of lost pairs that still proves p10 - p01 ≤ `margin` beside `gains` won ones; -1 when none."""
    last = pairs - check_count(gains, "gains")
    return bounds.smallest(lambda losses: loss_upper_bound(losses, gains, pairs, alpha) > margin, 0, last) - 1


def loss_p_value(losses: int, gains: int, pairs: int, margin: float) -> float:
    """Smallest error rate at which `loss_lower_bound` is above `margin`: the p-value that refutes the claim.

    The bound rises with its error rate, so it is found by bisection, rounded up; 1 when no rate refutes.
    """
    if not loss_lower_bound(losses, gains, pairs, 1.0 - 1e-12) > margin:
        return 1.0
    low, high = math.log(_SMALLEST_LEVEL), 0.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if loss_lower_bound(losses, gains, pairs, math.exp(middle)) > margin:
            high = middle
        else:
            low = middle
    return math.exp(high)


def accuracy_loss_at_most(
    losses: int, gains: int, pairs: int, margin: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05
) -> Decision:
    """Decide the claim "p10 - p01 ≤ `margin`" from `losses` and `gains` among `pairs` independent same-seed pairs.

    PASS when `loss_upper_bound` at `alpha_pass` is at or under the margin, FAIL when `loss_lower_bound` at `alpha_fail`
    is above it. Both are exact in that their error never exceeds its rate, and conservative, since half of the rate is
    kept for a p01 that is often near 0. Concepts of different difficulty may be pooled with equal pairs for each: the
    bounds then hold for the average over them.

    Its power: with no gain a PASS at 5% allows 2 losses in 32 pairs at margin .25, 15 in 160 at .15, 2 in 160 at .05
    and 135 in 3,200 at .05. With 16 pairs at margin .15 a FAIL needs 11 losses at 5%, 14 at .5%, 15 at .05/30 and all
    16 at .05/60, and one gain rules it out from .05/30 on: for a single concept it only catches ruin. An exact
    unconditional score test would have more power.

    `needed` supposes p10 = (losses + ½)/(pairs + 1), p01 = gains/pairs, a power of at least 95% and alpha_pass/2.
    """
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin must lie between 0 and 1, but is {margin!r}.")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower = loss_lower_bound(losses, gains, pairs, alpha_fail)
    upper = loss_upper_bound(losses, gains, pairs, alpha_pass)
    verdict = judge_against(lower, upper, margin)
    return Decision(
        verdict=verdict,
        estimate=(losses - gains) / pairs if pairs else None,
        lower=lower,
        upper=upper,
        threshold=float(margin),
        alpha_pass=alpha_pass,
        alpha_fail=alpha_fail,
        trials=pairs,
        hits=losses,
        gains=gains,
        p_refuted=loss_p_value(losses, gains, pairs, margin),
        refutable=loss_lower_bound(pairs, 0, pairs, alpha_fail) > margin,
        needed=_pairs_needed(losses, gains, pairs, margin, alpha_pass / 2.0) if verdict == "INCONCLUSIVE" else None,
    )


def mean_difference_at_most(
    differences: ArrayLike,
    margin: float,
    alpha_pass: float = 0.05,
    alpha_fail: float = 0.05,
    clip: float = SCORE_CLIP,
) -> Decision:
    """Decide the claim "the mean of base - candidate is at most `margin`" for CLIP score differences of pairs (n,).

    Differences are clipped to ±`clip` first and the claim is about the mean of the clipped ones: on the whole range of
    a cosine no rule has power. Positive means that the candidate scores lower. The pairs must be independent but may
    come from concepts with different means; the claim is then about their average. The bounds are those of
    `bounded_mean`. `needed` is a normal approximation from the differences seen, at alpha_pass/2 and a power of 95%.
    """
    values = finite_vector(differences, "differences")
    if not (math.isfinite(clip) and clip > 0.0):
        raise ValueError(f"clip must be a positive number, but is {clip!r}.")
    margin = check_inside(margin, -clip, clip, "margin")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    clipped = np.clip(values, -clip, clip)
    unit = (clipped + clip) / (2.0 * clip)
    unit_margin = (margin + clip) / (2.0 * clip)
    lower = 2.0 * clip * bounded_mean.mean_lower_bound(unit, alpha_fail) - clip
    upper = 2.0 * clip * bounded_mean.mean_upper_bound(unit, alpha_pass) - clip
    worst = 2.0 * clip * bounded_mean.mean_lower_bound(np.ones_like(unit), alpha_fail) - clip
    verdict = judge_against(lower, upper, margin)
    needed = None
    if verdict == "INCONCLUSIVE":
        needed = bounded_mean.observations_needed(1.0 - unit, 1.0 - unit_margin, alpha_pass / 2.0, _Z_95)
    return Decision(
        verdict=verdict,
        estimate=float(clipped.mean()) if clipped.size else None,
        lower=lower,
        upper=upper,
        threshold=margin,
        alpha_pass=alpha_pass,
        alpha_fail=alpha_fail,
        trials=int(clipped.size),
        hits=None,
        gains=None,
        p_refuted=math.exp(min(0.0, -bounded_mean.log_capital(unit, unit_margin))),
        refutable=worst > margin,
        needed=needed if needed is not None and needed <= bounds.MOST_IMAGES else None,
    )


def _check_pairs(losses: int, gains: int, pairs: int) -> tuple[int, int, int]:
    losses, gains, pairs = check_count(losses, "losses"), check_count(gains, "gains"), check_count(pairs, "pairs")
    if losses + gains > pairs:
        raise ValueError(f"{losses} losses and {gains} gains do not fit into {pairs} pairs.")
    return losses, gains, pairs


def _pairs_needed(losses: int, gains: int, pairs: int, margin: float, alpha: float) -> int | None:
    """Pairs at which the claim passes even with losses at their 97.5% quantile and gains at their 2.5% quantile."""
    p10, p01 = (losses + 0.5) / (pairs + 1.0), gains / pairs if pairs else 0.0
    if p10 - p01 >= margin:
        return None

    def passes(count: int) -> bool:
        most, fewest = bounds.quantile(0.975, count, p10), bounds.quantile(0.025, count, p01)
        return bounds.upper_bound(most, count, alpha / 2) - bounds.lower_bound(fewest, count, alpha / 2) <= margin

    needed = bounds.smallest(passes, 1, bounds.MOST_IMAGES)
    return needed if needed <= bounds.MOST_IMAGES else None
