"""Claims about same-seed pairs: CLIP accuracy (paired yes/no outcomes) and CLIP score (paired differences).

A pair is one image of the base model and one image of the candidate, from the same prompt and seed. The candidate loses a
pair if the base image is right and its own is wrong (probability p10); it wins a pair in the reverse case (probability
p01). The claim is non-inferiority: p10 - p01 ≤ margin. McNemar's test is no test of this claim: its hypothesis is
p10 = p01.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dmun_audit.verdict import bounded_mean, bounds
from dmun_audit.verdict.checks import check_count, check_inside, check_levels, finite_vector
from dmun_audit.verdict.claims import judge_against
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import SCORE_CLIP, ClaimKind, Verdict

_Z_95 = 1.6448536269514722  # standard normal quantile of the 95% power that `needed` assumes
_SMALLEST_LEVEL = 1e-300


def loss_upper_bound(losses: int, gains: int, pairs: int, alpha: float = 0.05) -> float:
    """Upper bound on p10 - p01: the exact upper bound on p10 minus the exact lower bound on p01, each at alpha/2."""
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    return bounds.upper_bound(losses, pairs, alpha / 2.0) - bounds.lower_bound(gains, pairs, alpha / 2.0)


def loss_lower_bound(losses: int, gains: int, pairs: int, alpha: float = 0.05) -> float:
    """Lower bound on p10 - p01: the exact lower bound on p10 minus the exact upper bound on p01, each at alpha/2."""
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    return bounds.lower_bound(losses, pairs, alpha / 2.0) - bounds.upper_bound(gains, pairs, alpha / 2.0)


def allowed_losses(pairs: int, margin: float, alpha: float = 0.05, gains: int = 0) -> int:
    """The largest number of lost pairs with which `accuracy_loss_at_most` passes.

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
        >>> allowed_losses(160, margin=0.15)
        15
    """
    last = pairs - check_count(gains, "gains")
    return bounds.smallest(lambda losses: loss_upper_bound(losses, gains, pairs, alpha) > margin, 0, last) - 1


def loss_p_value(losses: int, gains: int, pairs: int, margin: float) -> float:
    """p-value against "p10 - p01 ≤ `margin`": the smallest error rate at which `loss_lower_bound` is above `margin`.

    The bound rises with its error rate. So bisection finds the p-value; it is rounded up, and is 1 if no error rate will do.
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
    """Decide the claim "the candidate loses at most `margin` more of the pairs than it wins": p10 - p01 ≤ `margin`.

    Rule: PASS if `loss_upper_bound` at `alpha_pass` is at or under the margin; FAIL if `loss_lower_bound` at `alpha_fail`
    is above it. Both bounds combine two exact bounds (Clopper and Pearson 1934), each with half of the error rate.

    Guarantee: a false claim becomes PASS with a probability of at most `alpha_pass`, a true claim becomes FAIL with a
    probability of at most `alpha_fail`. The rule is conservative: half of the error rate belongs to p01, which is often
    near 0. Concepts with different difficulty may be pooled if each has the same number of pairs; the claim is then about
    their average.

    Power: without won pairs, a PASS at 5% allows 2 losses in 32 pairs at margin .25, 15 in 160 at .15, 2 in 160 at .05,
    and 135 in 3,200 at .05. With 16 pairs at margin .15, a FAIL needs 11 losses at 5%, 14 at .5%, 15 at .05/30, and all 16
    at .05/60; from .05/30 on, one won pair excludes a FAIL. So a claim on a single concept finds only severe damage.
    `score_loss_at_most` has more power.

    Args:
        losses: Number of pairs that the candidate lost.
        gains: Number of pairs that the candidate won.
        pairs: Number of independent pairs, fixed in advance.
        margin: The limit of the claim, from 0 up to 1.
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.

    Returns:
        The decision. `needed` assumes p10 = (losses + ½)/(pairs + 1), p01 = gains/pairs, a power of at least 95%, and half
        of `alpha_pass`, because two attempts share the error rate.

    Raises:
        ValueError: For counts or rates that cannot be.

    Example:
        >>> accuracy_loss_at_most(16, 16, 160, margin=0.15)
        <Decision PASS: 16 of 160 pairs lost, 16 won, at most 9.91 points with 95% confidence; margin 15 points>
    """
    losses, gains, pairs = _check_pairs(losses, gains, pairs)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin must lie between 0 and 1, but is {margin!r}.")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower = loss_lower_bound(losses, gains, pairs, alpha_fail)
    upper = loss_upper_bound(losses, gains, pairs, alpha_pass)
    verdict = judge_against(lower, upper, margin)
    return Decision(
        kind=ClaimKind.PAIRED_ACCURACY,
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
        needed=_pairs_needed(losses, gains, pairs, margin, alpha_pass / 2.0) if verdict == Verdict.INCONCLUSIVE else None,
    )


def mean_difference_at_most(
    differences: ArrayLike,
    margin: float,
    alpha_pass: float = 0.05,
    alpha_fail: float = 0.05,
    clip: float = SCORE_CLIP,
) -> Decision:
    """Decide the claim "the mean of base - candidate is at most `margin`" from the differences of same-seed pairs.

    A positive difference means that the candidate has the lower CLIP score. Every difference is first clipped to ±`clip`,
    and the claim is about the mean of the clipped differences: on the whole range of a cosine no rule has power.

    Rule: PASS if the upper bound at `alpha_pass` is at or under the margin; FAIL if the lower bound at `alpha_fail` is
    above it. The bounds are betting bounds for bounded observations (see `dmun_audit.verdict.bounded_mean`; Waudby-Smith
    and Ramdas, JRSS-B 2024).

    Guarantee: a false claim becomes PASS with a probability of at most `alpha_pass`, a true claim becomes FAIL with a
    probability of at most `alpha_fail`. Pairs must be independent. They may come from concepts with different means; the
    claim is then about the average of these means.

    Args:
        differences: Score of the base minus score of the candidate, one for each pair (n,).
        margin: The limit of the claim, between -`clip` and `clip`.
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.
        clip: Largest difference that counts.

    Returns:
        The decision. `needed` is a normal approximation from the observed differences, with a power of 95% and half of
        `alpha_pass`.

    Raises:
        ValueError: For differences that are not finite, and for numbers out of range.

    Example:
        >>> mean_difference_at_most([0.0, 0.01] * 80, margin=0.02)
        <Decision PASS: mean loss 0.005 over 160 pairs, at most 0.011 with 95% confidence; margin 0.02>
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
    if verdict == Verdict.INCONCLUSIVE:
        needed = bounded_mean.observations_needed(1.0 - unit, 1.0 - unit_margin, alpha_pass / 2.0, _Z_95)
    return Decision(
        kind=ClaimKind.PAIRED_SCORE,
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
    """Number of pairs at which the claim passes with losses at their 97.5% quantile and gains at their 2.5% quantile."""
    p10, p01 = (losses + 0.5) / (pairs + 1.0), gains / pairs if pairs else 0.0
    if p10 - p01 >= margin:
        return None

    def passes(count: int) -> bool:
        most, fewest = bounds.quantile(0.975, count, p10), bounds.quantile(0.025, count, p01)
        return bounds.upper_bound(most, count, alpha / 2) - bounds.lower_bound(fewest, count, alpha / 2) <= margin

    needed = bounds.smallest(passes, 1, bounds.MOST_IMAGES)
    return needed if needed <= bounds.MOST_IMAGES else None
