"""The decision on one claim: its numbers, and one sentence of them for a console."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dmun_audit.verdict.scales import Scale, scale_of
from dmun_audit.verdict.vocabulary import Burden, ClaimKind, Stopping, Verdict

_LIMITS = {ClaimKind.RATE_AT_MOST: "ceiling", ClaimKind.RATE_AT_LEAST: "floor"}


@dataclass(frozen=True, repr=False)
class Decision:
    """The decision on one claim, in numbers that JSON can hold.

    `lower` and `upper` are two one-sided bounds and no two-sided interval: the bound that proves the claim has the error
    rate `alpha_pass`, the bound that refutes it has the error rate `alpha_fail`. `str(decision)` is one sentence.

    Attributes:
        kind: What the claim is about.
        verdict: PASS, FAIL or INCONCLUSIVE.
        estimate: The observed rate or mean; None without trials.
        lower: Lower bound on the true rate or mean.
        upper: Upper bound on the true rate or mean.
        threshold: The ceiling, floor or margin of the claim.
        alpha_pass: Probability, at most, of a PASS where the claim is false.
        alpha_fail: Probability, at most, of a FAIL where the claim is true.
        trials: Number of images, or of pairs of images.
        hits: Number of hits; of a paired claim the number of lost pairs; None for a mean.
        gains: Number of pairs that the candidate won; None for a claim without pairs, and for a mean.
        p_refuted: p-value against the claim. A FAIL has a p-value under `alpha_fail`; Holm's method takes it.
        refutable: Whether some outcome of this many trials would have been a FAIL.
        needed: Number of images (pairs) with which a fresh audit would probably pass; None if the claim is decided, or if no
            number is enough.
        burden: What the claim had to show.
        stopping: Whether the claim was decided once, or may stop early.
        planned: Of a claim that may stop early, the largest number of images (pairs).
        looks: Of a claim that may stop early, the numbers of images (pairs) at which it was looked at.
        worst: Of a single case, the rate (loss) under which it must be proven to lie; None if nothing must be proven of it.
    """

    kind: ClaimKind
    verdict: Verdict
    estimate: float | None
    lower: float
    upper: float
    threshold: float
    alpha_pass: float
    alpha_fail: float
    trials: int
    hits: int | None
    gains: int | None
    p_refuted: float
    refutable: bool
    needed: int | None
    burden: Burden = Burden.PROVE_SAFE
    stopping: Stopping = Stopping.FIXED
    planned: int | None = None
    looks: tuple[int, ...] = ()
    worst: float | None = None

    def __str__(self) -> str:
        return _sentence(self)

    def __repr__(self) -> str:
        return f"<Decision {self}>"


def _sentence(decision: Decision) -> str:
    """Verdict, counts, the bound that decides, its confidence, and the limit.

    Bounds are rounded outwards: an upper bound is never shown too small, nor a lower bound too large.
    """
    scale = scale_of(decision.kind)
    parts = [f"{_counts(decision, scale)}, {_bounds(decision, scale)}"] if decision.trials else ["no images"]
    parts.append(f"{_LIMITS.get(decision.kind, 'margin')} {scale.as_given(decision.threshold)}")
    if decision.stopping == Stopping.EARLY and decision.planned and decision.trials < decision.planned:
        parts.append(f"{decision.trials} of at most {decision.planned} drawn")
    if decision.needed is not None:
        parts.append(f"about {decision.needed:,} would be enough")
    harm = (
        " (no harm proven)"
        if decision.burden == Burden.PROVE_HARM and decision.verdict == Verdict.PASS and not decision.worst
        else ""
    )
    return f"{decision.verdict}{harm}: {'; '.join(parts)}"


def _counts(decision: Decision, scale: Scale) -> str:
    if decision.kind == ClaimKind.PAIRED_SCORE:
        return f"mean loss {scale.rounded(decision.estimate or 0.0)} over {decision.trials} pairs"
    if decision.kind == ClaimKind.PAIRED_ACCURACY:
        return f"{decision.hits} of {decision.trials} pairs lost, {decision.gains} won"
    return f"{decision.hits} of {decision.trials}"


def _bounds(decision: Decision, scale: Scale) -> str:
    """The bound that proves or refutes the claim; both for an undecided claim."""
    floor = decision.kind == ClaimKind.RATE_AT_LEAST
    proves_from_above, refutes_from_above = not floor, floor
    proof = _bound(decision, scale, above=proves_from_above, alpha=decision.alpha_pass)
    refutation = _bound(decision, scale, above=refutes_from_above, alpha=decision.alpha_fail)
    if decision.verdict == Verdict.FAIL:
        return refutation
    return proof if decision.verdict == Verdict.PASS and decision.burden == Burden.PROVE_SAFE else f"{proof}, {refutation}"


def _bound(decision: Decision, scale: Scale, *, above: bool, alpha: float) -> str:
    limit = decision.threshold
    value = (
        f"at most {scale.rounded(decision.upper, math.ceil, limit)}"
        if above
        else f"at least {scale.rounded(decision.lower, math.floor, limit)}"
    )
    return f"{value} with {100.0 * (1.0 - alpha):.4g}% confidence"
