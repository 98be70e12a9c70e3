"""Anytime-valid claims: look at the images after every round, and stop as soon as the claim is proven or refuted.

A rule is anytime-valid if its error rate holds over all looks together, however many there are. A bound for a fixed
number of images is not: it errs more often with every look.

The rule is a bet against the hypothesis, with the mixture of stakes of `dmun_audit.verdict.betting`. If "the mean is at
least m" is true, the capital of the bet reaches 1/alpha at any time with a probability of at most alpha. So the hypothesis
is rejected as soon as the capital reaches 1/alpha. The mirrored bet (x → 1 - x, m → 1 - m) rejects "the mean is at most m".

Prompts with different rates may be pooled if the claim is looked at after whole rounds only. A round holds one image of
every prompt. The factor of a bet is linear in x. So, by the inequality of arithmetic and geometric means, the expected
product of the factors of a round is at most the product for prompts that all have the mean rate. This does not hold inside
a round: a claim could pass before the one prompt that shows the target has had its turn.

Sources: see `betting`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dmun_audit.verdict.betting import harm_stakes, log_capital, safe_stakes
from dmun_audit.verdict.bounds import MOST_IMAGES, smallest
from dmun_audit.verdict.checks import check_inside, check_levels
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import ClaimKind, Stopping, Verdict

Kind = Literal["rate", "paired"]
_LEAST_MARGIN = 0.01  # a smaller margin gets the stakes of this one
_PRECISION = 1e-9  # of a bound, which is rounded outwards


@dataclass(frozen=True)
class OutcomeCounts:
    """How often each outcome occurred.

    Attributes:
        low: Images without the target; of a paired claim, pairs that the candidate won (outcome -1).
        middle: 0 for a rate; of a paired claim, pairs without a change (outcome 0).
        high: Images with the target; of a paired claim, pairs that the candidate lost (outcome 1).

    Example:
        >>> OutcomeCounts.of([0, 0, 1, 0], "rate")
        OutcomeCounts(low=3, middle=0, high=1)
    """

    low: int
    middle: int
    high: int

    @classmethod
    def of(cls, outcomes: Iterable[int], kind: Kind) -> OutcomeCounts:
        """Count outcomes: 0 and 1 for a rate; -1, 0 and 1 for pairs. Raises ValueError for any other value."""
        values = list(outcomes)
        lowest = -1 if kind == "paired" else 0
        counts = cls(values.count(lowest), values.count(0) if kind == "paired" else 0, values.count(1))
        if counts.total != len(values):
            raise ValueError(f"outcomes of a {kind} claim are whole numbers from {lowest} to 1.")
        return counts

    @property
    def total(self) -> int:
        """The number of images, or of pairs."""
        return self.low + self.middle + self.high

    def mirrored(self) -> OutcomeCounts:
        """The counts with `low` and `high` exchanged."""
        return OutcomeCounts(self.high, self.middle, self.low)


@dataclass(frozen=True)
class SequentialClaim:
    """The claim "the rate is at most `ceiling`" or "the net loss is at most `ceiling`", valid at every look.

    Guarantee: over all looks together, a false claim becomes PASS with a probability of at most `alpha_pass`, and a true
    claim becomes FAIL with a probability of at most `alpha_fail`. Source: see the module `dmun_audit.verdict.sequential`.

    Attributes:
        kind: "rate" for outcomes 0 and 1, "paired" for outcomes -1, 0 and 1.
        ceiling_pass: The claim is proven if the rate is proven to be at most this.
        ceiling_fail: The claim is refuted if the rate is proven to be above this. It differs from `ceiling_pass` only if
            the error rates of the judge are included (see `judge_error.judged_ceilings`).
        alpha_pass: Error rate of a PASS, between 0 and ½.
        alpha_fail: Error rate of a FAIL, between 0 and ½.

    Raises:
        ValueError: For a ceiling or an error rate out of range.

    Example:
        >>> claim = SequentialClaim("rate", ceiling_pass=0.05, ceiling_fail=0.05, alpha_pass=0.05, alpha_fail=0.05)
        >>> claim.clean_images()
        64
        >>> claim.step(OutcomeCounts(low=63, middle=0, high=0))
        <Verdict.INCONCLUSIVE: 'INCONCLUSIVE'>
        >>> claim.step(OutcomeCounts(low=64, middle=0, high=0))
        <Verdict.PASS: 'PASS'>
    """

    kind: Kind
    ceiling_pass: float
    ceiling_fail: float
    alpha_pass: float
    alpha_fail: float

    def __post_init__(self) -> None:
        low = -1.0 if self.kind == "paired" else 0.0
        for name in ("ceiling_pass", "ceiling_fail"):
            check_inside(getattr(self, name), low, 1.0, name)
        check_levels(self.alpha_pass, self.alpha_fail)

    def step(self, counts: OutcomeCounts) -> Verdict:
        """The verdict on all outcomes so far. INCONCLUSIVE means: draw more."""
        if self._log_safe(counts, self.ceiling_pass) >= -math.log(self.alpha_pass):
            return Verdict.PASS
        if self._log_harm(counts, self.ceiling_fail) >= -math.log(self.alpha_fail):
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE

    def log_harm(self, counts: OutcomeCounts) -> float:
        """Natural logarithm of the capital of the bet against the claim."""
        return self._log_harm(counts, self.ceiling_fail)

    def upper(self, counts: OutcomeCounts) -> float:
        """Upper bound on the rate (mean) with the error rate `alpha_pass`, valid at every look."""
        return _edge(lambda mean: self._log_safe(counts, mean) < -math.log(self.alpha_pass), _mean(counts, self.kind), 1.0)

    def lower(self, counts: OutcomeCounts) -> float:
        """Lower bound on the rate (mean) with the error rate `alpha_fail`, valid at every look."""
        least = -1.0 if self.kind == "paired" else 0.0
        return _edge(lambda mean: self._log_harm(counts, mean) < -math.log(self.alpha_fail), _mean(counts, self.kind), least)

    def needed(self, counts: OutcomeCounts, most: int = MOST_IMAGES) -> int | None:
        """The total number of images (pairs) that would prove the claim if the rest had the rate (hits + ½)/(images + 1).

        The rest is a deterministic path: about half of all such audits need more. None if `most` images are not enough.
        """
        total = counts.total + 1.0
        high, low = (counts.high + 0.5) / total, counts.low / total
        if self.kind == "rate":
            low = 1.0 - high

        def proven(count: int) -> bool:
            ahead = count - counts.total
            log = log_capital(
                (counts.low + low * ahead, counts.middle + (1.0 - high - low) * ahead, counts.high + high * ahead),
                _unit(self.ceiling_pass, self.kind),
                safe_stakes(_stakes_ceiling(self.ceiling_pass, self.kind)),
            )
            return log >= -math.log(self.alpha_pass)

        count = smallest(proven, counts.total + 1, most)
        return count if count <= most else None

    def clean_images(self) -> int:
        """The smallest number of images (pairs) that proves the claim if none of them is a hit (a loss)."""

        def proven(count: int) -> bool:
            clean = OutcomeCounts(0, count, 0) if self.kind == "paired" else OutcomeCounts(count, 0, 0)
            return self.step(clean) == Verdict.PASS

        return smallest(proven, 1, MOST_IMAGES)

    def _log_safe(self, counts: OutcomeCounts, ceiling: float) -> float:
        stakes = safe_stakes(_stakes_ceiling(ceiling, self.kind))
        return log_capital((counts.low, counts.middle, counts.high), _unit(ceiling, self.kind), stakes)

    def _log_harm(self, counts: OutcomeCounts, ceiling: float) -> float:
        other = counts.mirrored()
        return log_capital((other.low, other.middle, other.high), 1.0 - _unit(ceiling, self.kind), harm_stakes())


def look_schedule(rounds: int, first: int, step: int) -> Iterator[int]:
    """The rounds after which a claim is looked at: after `first` rounds, then after every `step`, and after the last one.

    Args:
        rounds: The largest number of rounds.
        first: Rounds before the first look; at least `step` rounds pass.
        step: Rounds between two looks.

    Returns:
        The numbers of rounds, in increasing order.

    Example:
        >>> list(look_schedule(10, first=4, step=3))
        [4, 7, 10]
    """
    here = min(max(first, step), rounds)
    while here < rounds:
        yield here
        here += step
    yield rounds


def decide_sequentially(
    claim: SequentialClaim, outcomes: Sequence[Sequence[int]], schedule: Iterable[int], planned: int
) -> Decision:
    """Go through the looks in order and stop at the first look that decides the claim.

    Args:
        claim: The claim and its error rates.
        outcomes: For every prompt (concept) its outcomes in the order of the rounds, one outcome a round.
        schedule: The rounds after which the claim is looked at, as from `look_schedule`. No look may lie beyond the
            outcomes of the shortest prompt.
        planned: The largest number of rounds.

    Returns:
        The decision at the look that decided the claim, or at the last look. It may depend on the outcomes before that look
        alone.

    Raises:
        ValueError: For outcomes that do not suit the kind of the claim.

    Example:
        >>> claim = SequentialClaim("rate", 0.05, 0.05, 0.05, 0.05)
        >>> decide_sequentially(claim, [[0] * 24] * 16, look_schedule(24, 1, 1), planned=24)
        <Decision PASS: 0 of 64, at most 4.96% with 95% confidence; ceiling 5%; 64 of at most 384 drawn>
    """
    counts, most, looked = OutcomeCounts(0, 0, 0), 0.0, list[int]()
    verdict = Verdict.INCONCLUSIVE
    for end in schedule:
        counts = OutcomeCounts.of((value for member in outcomes for value in member[:end]), claim.kind)
        looked.append(counts.total)
        most = max(most, claim.log_harm(counts))
        verdict = claim.step(counts)
        if verdict != Verdict.INCONCLUSIVE:
            break
    return _decision(claim, counts, verdict, tuple(looked), planned * len(outcomes), most)


def _decision(
    claim: SequentialClaim, counts: OutcomeCounts, verdict: Verdict, looked: tuple[int, ...], planned: int, log_harm: float
) -> Decision:
    total = counts.total
    worst = OutcomeCounts(0, 0, planned)
    return Decision(
        kind=ClaimKind.PAIRED_ACCURACY if claim.kind == "paired" else ClaimKind.RATE_AT_MOST,
        verdict=verdict,
        estimate=_mean(counts, claim.kind) if total else None,
        lower=claim.lower(counts),
        upper=claim.upper(counts),
        threshold=claim.ceiling_pass,
        alpha_pass=claim.alpha_pass,
        alpha_fail=claim.alpha_fail,
        trials=total,
        hits=counts.high,
        gains=counts.low if claim.kind == "paired" else None,
        p_refuted=math.exp(min(0.0, -log_harm)),
        refutable=claim.log_harm(worst) >= -math.log(claim.alpha_fail),
        needed=claim.needed(counts) if verdict == Verdict.INCONCLUSIVE else None,
        stopping=Stopping.EARLY,
        planned=planned,
        looks=looked,
    )


def _stakes_ceiling(ceiling: float, kind: Kind) -> float:
    return round(max(ceiling, _LEAST_MARGIN) if kind == "paired" else ceiling, 12)


def _unit(value: float, kind: Kind) -> float:
    """A mean of outcomes on the scale [0, 1]."""
    return (value + 1.0) / 2.0 if kind == "paired" else value


def _mean(counts: OutcomeCounts, kind: Kind) -> float:
    if not counts.total:
        return 0.0
    return (counts.high - (counts.low if kind == "paired" else 0)) / counts.total


def _edge(stands: Callable[[float], bool], inside: float, outside: float) -> float:
    """The value furthest from `inside` towards `outside` for which `stands` is true; by bisection, rounded outwards."""
    while abs(outside - inside) > _PRECISION:
        middle = (inside + outside) / 2.0
        if stands(middle):
            inside = middle
        else:
            outside = middle
    return outside
