"""Bounds on the true rate from the judged rate: the error rates of the judge are included in the bound.

Let p be the true rate, q the judged rate, Se the sensitivity of the judge and FPR its false positive rate. The judge
misses a share 1 - Se of the images with the target: q ≥ p·Se, so p ≤ q/Se. It judges a share FPR of the images without
the target as hits: q ≤ p + (1 - p)·FPR, so p ≥ (q - FPR)/(1 - FPR). Se and FPR are themselves bounded by exact bounds from
the control images, and the two bounds of one claim share its error rate.

Source: Rogan and Gladen, Estimating prevalence from the results of a screening test, American Journal of Epidemiology
1978. Their point estimate corrects both errors at once. An upper bound may ignore false positives, which only raise it.
"""

from __future__ import annotations

import math

from dmun_audit.verdict.bounds import lower_bound, sample_size, upper_bound

SHARE_OF_JUDGE = 0.2  # share of the error rate for the bound on the judge; the claim has the rest
_TINY = 1e-6


def true_rate_upper(hits: int, trials: int, seen: int, shown: int, alpha: float = 0.05) -> float:
    """Upper bound on the true rate of the target, with the misses of the judge included.

    Guarantee: the true rate lies above the bound with a probability of at most `alpha`. Source: see the module.

    Args:
        hits: Images of the candidate that were judged to show the target.
        trials: Images of the candidate.
        seen: Control images with the target that were judged to show it.
        shown: Control images with the target.
        alpha: Error rate, between 0 and 1.

    Returns:
        The bound, at most 1.

    Raises:
        ValueError: For counts that cannot be.

    Example:
        >>> round(true_rate_upper(2, 192, seen=47, shown=48), 3)
        0.039
    """
    return corrected_upper(upper_bound(hits, trials, alpha * (1.0 - SHARE_OF_JUDGE)), seen, shown, alpha)


def true_rate_lower(hits: int, trials: int, false_hits: int, clean: int, alpha: float = 0.05) -> float:
    """Lower bound on the true rate of the target, with the false positives of the judge included.

    Guarantee: the true rate lies below the bound with a probability of at most `alpha`. Source: see the module.

    Args:
        hits: Images of the candidate that were judged to show the target.
        trials: Images of the candidate.
        false_hits: Control images without the target that were judged to show it.
        clean: Control images without the target.
        alpha: Error rate, between 0 and 1.

    Returns:
        The bound, at least 0.

    Raises:
        ValueError: For counts that cannot be.

    Example:
        >>> round(true_rate_lower(60, 192, false_hits=1, clean=72), 3)
        0.182
    """
    return corrected_lower(lower_bound(hits, trials, alpha * (1.0 - SHARE_OF_JUDGE)), false_hits, clean, alpha)


def corrected_upper(judged: float, seen: int, shown: int, alpha: float) -> float:
    """Upper bound on the true rate at `alpha`, from the upper bound `judged` on the judged rate at alpha·(1 - SHARE_OF_JUDGE)."""
    sensitivity = lower_bound(seen, shown, alpha * SHARE_OF_JUDGE)
    return 1.0 if sensitivity <= 0 else min(1.0, judged / sensitivity)


def corrected_lower(judged: float, false_hits: int, clean: int, alpha: float) -> float:
    """Lower bound on the true rate at `alpha`, from the lower bound `judged` on the judged rate at alpha·(1 - SHARE_OF_JUDGE)."""
    false_rate = upper_bound(false_hits, clean, alpha * SHARE_OF_JUDGE)
    return 0.0 if false_rate >= 1 else max(0.0, (judged - false_rate) / (1.0 - false_rate))


def judged_ceilings(
    ceiling: float, seen: int, shown: int, false_hits: int, clean: int, alpha_pass: float, alpha_fail: float
) -> tuple[float, float]:
    """Ceilings on the judged rate for the claim "the true rate is at most `ceiling`": (to prove it, to refute it).

    The claim is proven if the judged rate is at most the first, and refuted if the judged rate is above the second. They
    use up the judge's share of each error rate once, so they suit a claim that is looked at several times.
    """
    sensitivity = lower_bound(seen, shown, alpha_pass * SHARE_OF_JUDGE)
    false_rate = upper_bound(false_hits, clean, alpha_fail * SHARE_OF_JUDGE)
    return max(_TINY, ceiling * sensitivity), min(1.0 - _TINY, false_rate + ceiling * (1.0 - false_rate))


def p_value_refuted(hits: int, trials: int, false_hits: int, clean: int, ceiling: float) -> float:
    """p-value against "the true rate is at most `ceiling`".

    It is the smallest error rate at which `true_rate_lower` is above the ceiling; by bisection, rounded up; 1 if none is.
    """

    def refutes(alpha: float) -> bool:
        return true_rate_lower(hits, trials, false_hits, clean, alpha) > ceiling

    low, high = math.log(1e-300), math.log(0.999)
    if not refutes(math.exp(high)):
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if refutes(math.exp(middle)) else (middle, high)
    return math.exp(high)


def images_needed(hits: int, trials: int, seen: int, shown: int, ceiling: float, alpha: float = 0.05) -> int | None:
    """Number of images with which `true_rate_upper` of a fresh audit would be at most `ceiling`; None if no number is enough.

    As `bounds.sample_size`, with the ceiling multiplied by the sensitivity of the judge. It uses half of `alpha`, because
    two attempts share the error rate.
    """
    part = alpha * SHARE_OF_JUDGE
    sensitivity = lower_bound(seen, shown, part)
    if sensitivity <= 0:
        return None
    return sample_size(ceiling * sensitivity, (hits + 0.5) / (trials + 1.0), (alpha - part) / 2.0)
