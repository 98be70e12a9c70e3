"""Rates of what is there, from rates of what the judge saw: the judge's own errors carried into the bound.

A judge misses a share 1 - Se of what is there, so a judged rate q means a true one of at most q / Se; and it imagines the
target in a share FPR of what is clean, so q is at most p + (1 - p) FPR and p at least (q - FPR) / (1 - FPR). Every bound
is exact, and the two that a corrected one is made of share its error rate. Source: Rogan and Gladen, Estimating
prevalence from the results of a screening test, American Journal of Epidemiology 1978; its point estimate corrects both
errors at once, whereas an upper bound may leave the false positives in, which can only raise it.
"""

from __future__ import annotations

import math

from dmun_audit.verdict.bounds import lower_bound, sample_size, upper_bound

SHARE_OF_JUDGE = 0.2  # part of the error rate spent on knowing the judge, the rest on the claim
_TINY = 1e-6


def true_rate_upper(hits: int, trials: int, seen: int, shown: int, alpha: float = 0.05) -> float:
    """An upper bound at 1 - `alpha` on how often the target is there, `hits` of `trials` images having been judged so.

    The judge saw the target in `seen` of `shown` images that show it. At most 1.
    """
    return corrected_upper(upper_bound(hits, trials, alpha * (1.0 - SHARE_OF_JUDGE)), seen, shown, alpha)


def true_rate_lower(hits: int, trials: int, false_hits: int, clean: int, alpha: float = 0.05) -> float:
    """A lower bound at 1 - `alpha` on how often the target is there, `false_hits` of `clean` images having been misjudged.

    At least 0.
    """
    return corrected_lower(lower_bound(hits, trials, alpha * (1.0 - SHARE_OF_JUDGE)), false_hits, clean, alpha)


def corrected_upper(judged: float, seen: int, shown: int, alpha: float) -> float:
    """The bound on the true rate that follows from an upper bound `judged` at alpha·(1 - SHARE_OF_JUDGE) on the judged one."""
    sensitivity = lower_bound(seen, shown, alpha * SHARE_OF_JUDGE)
    return 1.0 if sensitivity <= 0 else min(1.0, judged / sensitivity)


def corrected_lower(judged: float, false_hits: int, clean: int, alpha: float) -> float:
    """The bound on the true rate that follows from a lower bound `judged` at alpha·(1 - SHARE_OF_JUDGE) on the judged one."""
    false_rate = upper_bound(false_hits, clean, alpha * SHARE_OF_JUDGE)
    return 0.0 if false_rate >= 1 else max(0.0, (judged - false_rate) / (1.0 - false_rate))


def judged_ceilings(
    ceiling: float, seen: int, shown: int, false_hits: int, clean: int, alpha_pass: float, alpha_fail: float
) -> tuple[float, float]:
    """What the judged rate must be at most to prove, and at least to refute, that the true one is at most `ceiling`.

    For claims that are looked at more than once: these hold with the judge's share of each error rate, whatever the looks.
    """
    sensitivity = lower_bound(seen, shown, alpha_pass * SHARE_OF_JUDGE)
    false_rate = upper_bound(false_hits, clean, alpha_fail * SHARE_OF_JUDGE)
    return max(_TINY, ceiling * sensitivity), min(1.0 - _TINY, false_rate + ceiling * (1.0 - false_rate))


def p_value_refuted(hits: int, trials: int, false_hits: int, clean: int, ceiling: float) -> float:
    """Smallest error rate at which `true_rate_lower` is above the ceiling: found by bisection, rounded up; 1 when none is."""

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
    """Images that a fresh audit would need to bring `true_rate_upper` under `ceiling`; None where none would do.

    As `bounds.sample_size` with the ceiling lowered by the judge's sensitivity, and half of `alpha` for a second attempt.
    """
    part = alpha * SHARE_OF_JUDGE
    sensitivity = lower_bound(seen, shown, part)
    if sensitivity <= 0:
        return None
    return sample_size(ceiling * sensitivity, (hits + 0.5) / (trials + 1.0), (alpha - part) / 2.0)
