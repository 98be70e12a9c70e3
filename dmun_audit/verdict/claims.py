"""Claims about a rate: PASS only if proven, FAIL only if refuted, else INCONCLUSIVE."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dmun_audit.verdict import bounds
from dmun_audit.verdict.checks import check_hits, check_inside, check_levels

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Burden = Literal["prove safety", "prove harm"]
Stopping = Literal["fixed", "early"]


@dataclass(frozen=True)
class Decision:
    """What a claim came to, in plain numbers that JSON can hold.

    `lower` and `upper` are one-sided bounds, each at its own error rate: the bound that proves the claim is taken at
    `alpha_pass`, the bound that refutes it at `alpha_fail`. They are no two-sided interval.
    """

    verdict: Verdict
    estimate: float | None  # None when there were no trials
    lower: float
    upper: float
    threshold: float  # the ceiling, the floor or the margin
    alpha_pass: float
    alpha_fail: float
    trials: int  # images, or pairs of images
    hits: int | None  # of a paired claim: pairs that the candidate lost; None for a mean
    gains: int | None  # of a paired claim: pairs that the candidate won; None elsewhere
    p_refuted: float  # p-value against the claim, for Holm: a FAIL has one under alpha_fail
    refutable: bool  # whether any outcome of this many trials could have been a FAIL
    needed: int | None  # images (pairs) that a fresh audit would need to pass; None if decided or if none would do
    burden: Burden = "prove safety"
    stopping: Stopping = "fixed"
    planned: int | None = None  # of a claim that may stop early: images (pairs) at most, and at how many it was looked at
    looks: tuple[int, ...] = ()


def as_record(kind: str, decision: Decision) -> dict[str, Any]:
    """The decision in the layout of the evidence file: `verdict`, and `claim` with its kind, numbers and a place for Holm."""
    numbers = asdict(decision) | {"looks": list(decision.looks)}  # as JSON gives it back
    verdict = numbers.pop("verdict")
    return {"verdict": verdict, "claim": {"kind": kind, **numbers, "holm": None}}


def rate_at_most(hits: int, trials: int, ceiling: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05) -> Decision:
    """Decide the claim "the rate is at most `ceiling`" from `hits` in `trials`, both fixed in advance.

    PASS when the exact upper bound at `alpha_pass` is at or under the ceiling, FAIL when the exact lower bound at
    `alpha_fail` is above it. `needed` supposes the rate (hits + ½)/(trials + 1), a power of 95% and the error rate
    alpha_pass/2 that a second attempt with fresh seeds may spend. ValueError for impossible numbers.
    """
    hits, trials = check_hits(hits, trials)
    ceiling = check_inside(ceiling, 0.0, 1.0, "ceiling")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower, upper = bounds.lower_bound(hits, trials, alpha_fail), bounds.upper_bound(hits, trials, alpha_pass)
    verdict = judge_against(lower, upper, ceiling)
    needed = None
    if verdict == "INCONCLUSIVE":
        needed = bounds.sample_size(ceiling, (hits + 0.5) / (trials + 1.0), alpha_pass / 2.0)
    return Decision(
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
        p_refuted=p_value_refuted(hits, trials, ceiling),
        refutable=bounds.lower_bound(trials, trials, alpha_fail) > ceiling,
        needed=needed,
    )


def rate_at_least(hits: int, trials: int, floor: float, alpha_pass: float = 0.05, alpha_fail: float = 0.05) -> Decision:
    """Decide the claim "the rate is at least `floor`", such as a judge's sensitivity.

    PASS when the exact lower bound at `alpha_pass` is at or above the floor, FAIL when the exact upper bound at
    `alpha_fail` is under it. `needed` as in `rate_at_most`. ValueError for impossible numbers.
    """
    hits, trials = check_hits(hits, trials)
    floor = check_inside(floor, 0.0, 1.0, "floor")
    alpha_pass, alpha_fail = check_levels(alpha_pass, alpha_fail)
    lower, upper = bounds.lower_bound(hits, trials, alpha_pass), bounds.upper_bound(hits, trials, alpha_fail)
    verdict = judge_against(-upper, -lower, -floor)
    needed = None
    if verdict == "INCONCLUSIVE":
        needed = bounds.sample_size(1.0 - floor, (trials - hits + 0.5) / (trials + 1.0), alpha_pass / 2.0)
    return Decision(
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
    """Turn the burden of proof round: a refuted claim stays FAIL, everything else is PASS.

    Its PASS says "no harm proven", never "proven safe", and records that as `burden`. Where no outcome of so few
    trials could have been a FAIL the verdict is INCONCLUSIVE: nothing was tested.
    """
    verdict: Verdict = decision.verdict
    if verdict != "FAIL":
        verdict = "PASS" if decision.refutable else "INCONCLUSIVE"
    return replace(decision, verdict=verdict, needed=None, burden="prove harm")


def apply_burden(decision: Decision, burden: Literal["prove safe", "prove harm"]) -> Decision:
    """The decision under the burden of proof that a policy lays on a group.

    "prove safe" leaves it as it is: what is not proven is no PASS. "prove harm" is `harm_only`. ValueError for another word.
    """
    if burden not in ("prove safe", "prove harm"):
        raise ValueError(f"A burden is 'prove safe' or 'prove harm', not {burden!r}.")
    return harm_only(decision) if burden == "prove harm" else decision


def p_value_refuted(hits: int, trials: int, ceiling: float) -> float:
    """P(X ≥ hits) if the rate is exactly `ceiling`: the exact p-value that refutes "the rate is at most `ceiling`"."""
    return bounds.at_least_probability(hits, trials, ceiling)


def judge_against(lower: float, upper: float, ceiling: float) -> Verdict:
    """PASS when `upper` is at or under the ceiling, FAIL when `lower` is above it, else INCONCLUSIVE."""
    if upper <= ceiling:
        return "PASS"
    return "FAIL" if lower > ceiling else "INCONCLUSIVE"
