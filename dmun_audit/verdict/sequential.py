"""Anytime-valid claims: look after every wave of images, stop as soon as the claim is proven or refuted.

For observations x in [0, 1] and a mean m, the capital Π(1 + θ(m - x)/(1 - m)) of a bet with a stake θ in (0, 1), fixed
in advance, is a supermartingale if every mean is at least m; so is the average over several stakes, and by Ville's
inequality it ever reaches 1/alpha with a probability of at most alpha. For rates with θ = 1 - p/c it is the likelihood
ratio of p against c, and its average over p a mixture e-process. The mirror (x → 1 - x, m → 1 - m) refutes.

Several prompts with rates of their own (a fixed set, one image of each in a round) may be looked at together, at the
ends of whole rounds only: a factor is linear in x, so by the inequality of the means a round's expected factor is at
most that of its mean rate. In the middle of a round this fails, and a last, always leaking prompt would slip through.

Sources: Howard, Ramdas, McAuliffe and Sekhon, Time-uniform Chernoff bounds, Probability Surveys 2020; Waudby-Smith and
Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024, §4 (their stakes may look at the past;
ours are fixed, for the reason given in `bounded_mean`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmun_audit.verdict.bounds import MOST_IMAGES, smallest
from dmun_audit.verdict.checks import check_inside, check_levels
from dmun_audit.verdict.claims import Decision, Verdict

Kind = Literal["rate", "paired"]
# Shares of a prior at which its grid is cut: its tail in finer steps.
_EDGES = np.concatenate([np.linspace(0.0, 0.96, 41), 1.0 - 0.04 * 0.4 ** np.arange(1, 9), [1.0]])
_SHARES, _WEIGHTS = (_EDGES[1:] + _EDGES[:-1]) / 2.0, np.diff(_EDGES)
_LEAST_MARGIN = 0.01  # stakes on a margin at or under 0 are those on this one
_NEAR = 1e-9  # how finely bounds are found, always outwards


@dataclass(frozen=True)
class Counts:
    """How often each outcome occurred: a rate has `high` (hits) and `low`, a paired claim `high` (losses), `middle`, `low` (gains)."""

    low: int
    middle: int
    high: int

    @classmethod
    def of(cls, outcomes: Iterable[int], kind: Kind) -> Counts:
        """Counts of outcomes: 1 and 0 of a rate; 1 (lost), 0 and -1 (won) of pairs. ValueError for anything else."""
        held = list(outcomes)
        none = -1 if kind == "paired" else 0
        counts = cls(held.count(none), held.count(0) if kind == "paired" else 0, held.count(1))
        if counts.total != len(held):
            raise ValueError(f"outcomes of a {kind} claim are whole numbers from {none} to 1.")
        return counts

    @property
    def total(self) -> int:
        """How many images, or pairs."""
        return self.low + self.middle + self.high

    def mirrored(self) -> Counts:
        """With the ends exchanged."""
        return Counts(self.high, self.middle, self.low)


@dataclass(frozen=True)
class Claim:
    """ "At most `ceiling`", of a rate (outcomes 0 and 1) or of the mean of paired outcomes (-1, 0, 1).

    `ceiling_pass` and `ceiling_fail` differ from each other only where the judge's own error rates are carried in: then
    the judged rate must be under the one to prove the claim, and over the other to refute it.
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

    def step(self, counts: Counts) -> Verdict:
        """What all outcomes so far say: PASS, FAIL, or INCONCLUSIVE, which means draw more."""
        if self._log_safe(counts, self.ceiling_pass) >= -math.log(self.alpha_pass):
            return "PASS"
        if self._log_harm(counts, self.ceiling_fail) >= -math.log(self.alpha_fail):
            return "FAIL"
        return "INCONCLUSIVE"

    def log_harm(self, counts: Counts) -> float:
        """Log of the capital against the claim."""
        return self._log_harm(counts, self.ceiling_fail)

    def upper(self, counts: Counts) -> float:
        """Largest rate (mean) that is not yet refuted from above at `alpha_pass`, at any look."""
        return _edge(lambda mean: self._log_safe(counts, mean) < -math.log(self.alpha_pass), _mean(counts, self.kind), 1.0)

    def lower(self, counts: Counts) -> float:
        """Smallest rate (mean) that is not yet refuted from below at `alpha_fail`, at any look."""
        least = -1.0 if self.kind == "paired" else 0.0
        return _edge(lambda mean: self._log_harm(counts, mean) < -math.log(self.alpha_fail), _mean(counts, self.kind), least)

    def needed(self, counts: Counts, most: int = MOST_IMAGES) -> int | None:
        """How many images (pairs) in all would prove the claim if they went on as they did; None where none would do.

        Going on means at the rate (hits + ½)/(images + 1), a deterministic path: about half of such audits need more.
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
                self._stakes(self.ceiling_pass),
            )
            return log >= -math.log(self.alpha_pass)

        count = smallest(proven, counts.total + 1, most)
        return count if count <= most else None

    def clean_images(self) -> int:
        """How few images (pairs) prove the claim where not one speaks against it."""

        def proven(count: int) -> bool:
            return self.step(Counts(0, count, 0) if self.kind == "paired" else Counts(count, 0, 0)) == "PASS"

        return smallest(proven, 1, MOST_IMAGES)

    def _stakes(self, ceiling: float) -> NDArray[np.float64]:
        return safe_stakes(round(max(ceiling, _LEAST_MARGIN) if self.kind == "paired" else ceiling, 12))

    def _log_safe(self, counts: Counts, ceiling: float) -> float:
        return log_capital((counts.low, counts.middle, counts.high), _unit(ceiling, self.kind), self._stakes(ceiling))

    def _log_harm(self, counts: Counts, ceiling: float) -> float:
        other = counts.mirrored()
        return log_capital((other.low, other.middle, other.high), 1.0 - _unit(ceiling, self.kind), harm_stakes())


def looks(rounds: int, first: int, step: int) -> Iterator[int]:
    """The round ends at which a claim is looked at: after `first` rounds, then every `step`, and after the last one."""
    here = min(max(first, step), rounds)
    while here < rounds:
        yield here
        here += step
    yield rounds


def run(claim: Claim, outcomes: Sequence[Sequence[int]], schedule: Iterable[int], planned: int) -> Decision:
    """Go through the looks in order, stop at the first that decides the claim, and say what it then says.

    `outcomes` holds those of every prompt (concept) in the order of its rounds, as many as have been drawn; `schedule`
    the round ends of the looks, none beyond what every prompt holds; `planned` how many rounds the audit may draw.
    """
    counts, most, looked = Counts(0, 0, 0), 0.0, list[int]()
    verdict: Verdict = "INCONCLUSIVE"
    for end in schedule:
        counts = Counts.of((value for member in outcomes for value in member[:end]), claim.kind)
        looked.append(counts.total)
        most = max(most, claim.log_harm(counts))
        verdict = claim.step(counts)
        if verdict != "INCONCLUSIVE":
            break
    return _decision(claim, counts, verdict, tuple(looked), planned * len(outcomes), most)


def _decision(claim: Claim, counts: Counts, verdict: Verdict, looked: tuple[int, ...], planned: int, log_harm: float) -> Decision:
    total = counts.total
    worst = Counts(0, 0, planned)
    return Decision(
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
        needed=claim.needed(counts) if verdict == "INCONCLUSIVE" else None,
        stopping="early",
        planned=planned,
        looks=looked,
    )


@lru_cache(maxsize=4096)
def safe_stakes(ceiling: float) -> NDArray[np.float64]:
    """Stakes θ = 1 - p/c against "at least c" for rates p from a Beta(½, b) of mean c/16, cut to [0, c].

    A grid of that distribution's quantiles: so much of it lies near 0 because a model that may be released hardly ever
    shows the target. At c = .05, 0/1/2/3 hits pass at n = 62/131/185/232.
    """
    a, b = 0.5, 0.5 * (1.0 - ceiling / 16.0) / (ceiling / 16.0)
    quantiles = special.betaincinv(a, b, _SHARES * special.betainc(a, b, ceiling))
    return np.asarray(1.0 - quantiles / ceiling, dtype=np.float64)


@lru_cache(maxsize=1)
def harm_stakes() -> NDArray[np.float64]:
    """Stakes against "at most c": a grid of quantiles of Beta(½, ½), so that small and gross excesses are both met."""
    return np.asarray(special.betaincinv(0.5, 0.5, _SHARES), dtype=np.float64)


def log_capital(counts: tuple[float, float, float], mean: float, stakes: NDArray[np.float64]) -> float:
    """Log of the mixture's capital against "the mean is at least `mean`", with counts of x = 0, ½ and 1."""
    odds = mean / (1.0 - mean)
    middle = (mean - 0.5) / (1.0 - mean)
    logs = counts[0] * np.log1p(stakes * odds) + counts[1] * np.log1p(stakes * middle) + counts[2] * np.log1p(-stakes)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top) @ _WEIGHTS))


def _unit(value: float, kind: Kind) -> float:
    return (value + 1.0) / 2.0 if kind == "paired" else value


def _mean(counts: Counts, kind: Kind) -> float:
    if not counts.total:
        return 0.0
    return (counts.high - (counts.low if kind == "paired" else 0)) / counts.total


def _edge(stands: Callable[[float], bool], inside: float, outside: float) -> float:
    """The furthest value from `inside` towards `outside` that still stands, by bisection, rounded outwards."""
    while abs(outside - inside) > _NEAR:
        middle = (inside + outside) / 2.0
        if stands(middle):
            inside = middle
        else:
            outside = middle
    return outside
