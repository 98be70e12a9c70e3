"""Rates of what is there, from rates of what the judge saw: the judge's own errors carried into the bound."""

from __future__ import annotations

from dmun_audit.verdict.bounds import lower_bound, sample_size, upper_bound

SHARE_OF_JUDGE = 0.2  # part of the error rate spent on knowing the judge, the rest on the claim


def true_rate_upper(hits: int, trials: int, seen: int, shown: int, alpha: float = 0.05) -> float:
    """An upper bound at 1 - `alpha` on how often the target is there, `hits` of `trials` images having been judged so.

    The judge saw the target in `seen` of `shown` images that show it. A judge misses a share 1 - Se, so a judged rate q
    means a true one of at most q / Se; both bounds are exact and share `alpha` (Rogan and Gladen 1978, with the false
    positives left in, which can only raise the bound). At most 1.
    """
    part = alpha * SHARE_OF_JUDGE
    sensitivity = lower_bound(seen, shown, part)
    return 1.0 if sensitivity <= 0 else min(1.0, upper_bound(hits, trials, alpha - part) / sensitivity)


def images_needed(hits: int, trials: int, seen: int, shown: int, ceiling: float, alpha: float = 0.05) -> int | None:
    """Images that a fresh audit would need to bring `true_rate_upper` under `ceiling`; None where none would do.

    As `bounds.sample_size` with the ceiling lowered by the judge's sensitivity, and half of `alpha` for a second attempt.
    """
    part = alpha * SHARE_OF_JUDGE
    sensitivity = lower_bound(seen, shown, part)
    if sensitivity <= 0:
        return None
    return sample_size(ceiling * sensitivity, (hits + 0.5) / (trials + 1.0), (alpha - part) / 2.0)


def true_rate_lower(hits: int, trials: int, false_hits: int, clean: int, alpha: float = 0.05) -> float:
    """A lower bound at 1 - `alpha` on how often the target is there, `false_hits` of `clean` images having been misjudged.

    A judged rate q is at most p + (1 - p) FPR, so p is at least (q - FPR) / (1 - FPR). At least 0.
    """
    part = alpha * SHARE_OF_JUDGE
    false_rate = upper_bound(false_hits, clean, part)
    if false_rate >= 1:
        return 0.0
    return max(0.0, (lower_bound(hits, trials, alpha - part) - false_rate) / (1 - false_rate))
