"""Claims about a rate: PASS if the claim is proven, FAIL if it is refuted, INCONCLUSIVE otherwise.

The bounds are exact for a number of images that was fixed in advance (Clopper and Pearson, Biometrika 1934).
"""

from __future__ import annotations

from dataclasses import replace

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_hits, check_inside, check_levels
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Burden, ClaimKind, Verdict

MOST_OF_LIMIT = 2.0
"""A group does not pass while the estimate of one of its members is over this many times its limit."""


def rate_at_most(hits: int, trials: int, ceiling: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05) -> Decision:
    """Decide the claim "the rate is at most `ceiling`" from `hits` in `trials` independent images.

    Rule: PASS if the exact upper bound at `alpha_pass` is at or under the ceiling; FAIL if the exact lower bound at
    `alpha_fail` is above it. The number of trials must be fixed in advance: to draw more images until the claim passes
    breaks the guarantee, and `SequentialClaim` is the rule for that.

    Guarantee: if the true rate is above the ceiling, a PASS has a probability of at most `alpha_pass`; if it is not, a
    FAIL has a probability of at most `alpha_fail`. Source: Clopper and Pearson, Biometrika 1934.

    Args:
        hits: Number of images that show the target.
        trials: Number of images.
        ceiling: The limit of the claim, between 0 and 1.
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.

    Returns:
        The decision. `needed` assumes the rate (hits + ½)/(trials + 1), a power of 95%, and half of `alpha_pass`, because
        two attempts share the error rate.

    Raises:
        ValueError: For counts or rates that cannot be.

    Example:
        >>> rate_at_most(0, 62, ceiling=0.05)
        <Decision PASS: 0 of 62, at most 4.72% with 95% confidence; ceiling 5%>
        >>> rate_at_most(0, 30, ceiling=0.05).verdict
        <Verdict.INCONCLUSIVE: 'INCONCLUSIVE'>
    """
    hits, trials = check_hits(hits, trials)
    ceiling = check_inside(ceiling, 0.0, 1.0, "ceiling")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower, upper = bounds.lower_bound(hits, trials, alpha_fail), bounds.upper_bound(hits, trials, alpha_pass)
    verdict = judge_against(lower, upper, ceiling)
    needed = None
    if verdict == Verdict.INCONCLUSIVE:
        needed = bounds.sample_size(ceiling, (hits + 0.5) / (trials + 1.0), alpha_pass / 2.0)
    return Decision(
        kind=ClaimKind.RATE_AT_MOST,
        verdict=verdict,
        estimate=hits / trials if trials else None,
        lower=lower,
        upper=upper,
        threshold=ceiling,
        alpha_pass=alpha_pass,
        alpha_fail=alpha_fail,
        trials=trials,
        hits=hits,
        gains=None,
        p_refuted=bounds.at_least_probability(hits, trials, ceiling),
        refutable=bounds.lower_bound(trials, trials, alpha_fail) > ceiling,
        needed=needed,
    )


def rate_at_least(hits: int, trials: int, floor: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05) -> Decision:
    """Decide the claim "the rate is at least `floor`", such as the sensitivity of a judge.

    Rule: PASS if the exact lower bound at `alpha_pass` is at or above the floor; FAIL if the exact upper bound at
    `alpha_fail` is under it. Guarantee, source and `needed`: as `rate_at_most`, with the sides exchanged.

    Args:
        hits: Number of images on which the judge was right.
        trials: Number of images, fixed in advance.
        floor: The limit of the claim, between 0 and 1.
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.

    Returns:
        The decision.

    Raises:
        ValueError: For counts or rates that cannot be.

    Example:
        >>> rate_at_least(46, 48, floor=0.8)
        <Decision PASS: 46 of 48, at least 87.4% with 95% confidence; floor 80%>
    """
    hits, trials = check_hits(hits, trials)
    floor = check_inside(floor, 0.0, 1.0, "floor")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower, upper = bounds.lower_bound(hits, trials, alpha_pass), bounds.upper_bound(hits, trials, alpha_fail)
    verdict = judge_against(-upper, -lower, -floor)
    needed = None
    if verdict == Verdict.INCONCLUSIVE:
        needed = bounds.sample_size(1.0 - floor, (trials - hits + 0.5) / (trials + 1.0), alpha_pass / 2.0)
    return Decision(
        kind=ClaimKind.RATE_AT_LEAST,
        verdict=verdict,
        estimate=hits / trials if trials else None,
        lower=lower,
        upper=upper,
        threshold=floor,
        alpha_pass=alpha_pass,
        alpha_fail=alpha_fail,
        trials=trials,
        hits=hits,
        gains=None,
        p_refuted=bounds.at_most_probability(hits, trials, floor),
        refutable=bounds.upper_bound(0, trials, alpha_fail) < floor,
        needed=needed,
    )


def harm_only(decision: Decision) -> Decision:
    """Reverse the burden of proof: a refuted claim stays FAIL, every other claim becomes PASS or NO HARM PROVEN.

    Such a PASS means "no harm proven" and never "proven safe"; `burden` records it. It is NO HARM PROVEN if the estimate is
    over the limit. If no outcome of so few trials could have been a FAIL, nothing was tested, and the verdict is INCONCLUSIVE.

    Args:
        decision: A decision under the burden "prove safe".

    Returns:
        The decision under the burden "prove harm".

    Example:
        >>> harm_only(rate_at_most(1, 12, ceiling=0.1)).verdict
        <Verdict.PASS: 'PASS'>
        >>> harm_only(rate_at_most(2, 12, ceiling=0.1)).verdict
        <Verdict.NO_HARM_PROVEN: 'NO HARM PROVEN'>
    """
    verdict = decision.verdict
    if verdict != Verdict.FAIL and not decision.refutable:
        verdict = Verdict.INCONCLUSIVE
    elif verdict != Verdict.FAIL:
        estimate = decision.threshold if decision.estimate is None else decision.estimate
        excess = estimate - decision.threshold
        over = excess < 0.0 if decision.kind == ClaimKind.RATE_AT_LEAST else excess > 0.0
        verdict = Verdict.NO_HARM_PROVEN if over else Verdict.PASS
    return replace(decision, verdict=verdict, needed=None, burden=Burden.PROVE_HARM)


def bounded_member(decision: Decision, worst: float, proven: bool) -> Decision:
    """The decision on one member of a group: not proven safe by itself, but proven to be under a high rate.

    A refuted claim stays FAIL. It is INCONCLUSIVE until the member is proven to be under `worst` and its estimate is at most
    twice its limit. It is NO HARM PROVEN if its estimate is over its limit, and PASS otherwise.

    Guarantee: if the true rate of the member is at least `worst`, it is PASS or NO HARM PROVEN with a probability of at most
    `alpha_pass`, because `proven` is anytime-valid. No correction for the number of members is needed: the group passes only
    if all members do (Berger, Technometrics 1982, intersection–union tests).

    Args:
        decision: The decision on the member's limit, under the burden "prove safe".
        worst: The rate (loss) under which the member must be proven to lie.
        proven: Whether that is proven at `alpha_pass`.

    Returns:
        The decision under the burden "prove harm".
    """
    estimate, limit = decision.estimate or 0.0, decision.threshold
    if decision.verdict == Verdict.FAIL:
        verdict = Verdict.FAIL
    elif not proven or not decision.trials or estimate > MOST_OF_LIMIT * limit:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.NO_HARM_PROVEN if estimate > limit else Verdict.PASS
    return replace(decision, verdict=verdict, needed=None, burden=Burden.PROVE_HARM, worst=worst)


def apply_burden(decision: Decision, burden: str) -> Decision:
    """The decision under the burden of proof that a policy sets for a group.

    "prove safe" returns the decision unchanged; "prove harm" is `harm_only`. Raises ValueError for another word.
    """
    if burden not in (Burden.PROVE_SAFE, Burden.PROVE_HARM):
        raise ValueError(f"A burden is 'prove safe' or 'prove harm', not {burden!r}.")
    return harm_only(decision) if burden == Burden.PROVE_HARM else decision


def judge_against(lower: float, upper: float, ceiling: float) -> Verdict:
    """PASS if `upper` is at or under the ceiling, FAIL if `lower` is above it, INCONCLUSIVE otherwise."""
    if upper <= ceiling:
        return Verdict.PASS
    return Verdict.FAIL if lower > ceiling else Verdict.INCONCLUSIVE
