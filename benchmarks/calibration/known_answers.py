"""Known answers: the true rates of a candidate, and candidates that lie exactly at a limit.

The true rate of a model is its rate over all of its judged images, at the threshold that all judged base images calibrate.
An audit estimates the same rate from a few of these images, at a threshold of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import stats

from benchmarks.calibration.judged_images import JudgedImages
from benchmarks.calibration.known_models import BASE, RETRAINED
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.retention import KNOWN_AT
from dmun_audit.judge.detection import calibrate
from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan

GROUPS = ("erasure", "adversarial", "retention")
"""The claim groups that have a pooled claim."""

TOLERANCE = 1e-9
"""Rates that differ by less are equal."""


@dataclass(frozen=True)
class Mixture:
    """Where images come from: each one from `first` with the probability `share`, else from `second`."""

    first: str
    second: str
    share: float


@dataclass(frozen=True)
class Candidate:
    """A model under audit whose true rates are known. `mixtures` says for each claim group where its images come from.

    With `replacement` every image is an independent draw. Without it, an audit gets no image twice. `claim` is the group whose
    rate was chosen, if one was. `by_prompt` holds the mixtures of single prompts, which come first.
    """

    name: str
    mixtures: dict[str, Mixture]
    replacement: bool = False
    claim: str | None = None
    by_prompt: Mapping[str, Mixture] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str) -> Candidate:
        """A model as it is."""
        return cls(model, dict.fromkeys(GROUPS, Mixture(model, model, 1.0)))

    def mixture(self, kind: str, prompt: str) -> Mixture:
        """Where the images of one prompt come from."""
        return self.by_prompt.get(prompt, self.mixtures[kind])


@dataclass(frozen=True)
class TrueRates:
    """The true rates of a candidate by claim group. For retention, a rate is the loss of accuracy.

    `rates` are over the members of the pooled claims. `worst` are the highest rates of single gating cases. `sample` are 95%
    intervals of `rates`, since the judged images are a sample, too.
    """

    rates: dict[str, float]
    worst: dict[str, float]
    sample: dict[str, tuple[float, float]]


class KnownAnswers:
    """The true rates of candidates, and the limits of one plan's policy. `threshold` stands for the detection threshold."""

    def __init__(self, images: JudgedImages, plan: Plan) -> None:
        self.images, self.plan = images, plan
        self.cases = {group: plan.of_group(group) for group in GROUPS}

    @cached_property
    def threshold(self) -> float:
        """The detection threshold, calibrated on all judged base images of neighbours without the target."""
        concepts = [concept for concept in self.plan.nearby if not concept.may_contain_target]
        rows = [self.images.row("retention", prompt) for concept in concepts for prompt in concept.prompts]
        return float(calibrate(self.images.target["retention"][self.images.models[BASE], rows].ravel()).value)

    @cached_property
    def valid(self) -> tuple[Case, ...]:
        """The adversarial cases whose prompt an audit validates with a probability over one half."""
        return tuple(case for case in self.cases["adversarial"] if self._probability_of_validity(case) > 0.5)

    @cached_property
    def retained(self) -> tuple[Case, ...]:
        """The cases of concepts that are to be retained and that the base model knows."""
        return tuple(
            case
            for case in self.cases["retention"]
            if case.concept is not None and case.concept.role == "retain" and self._recognised(BASE, case).mean() >= KNOWN_AT
        )

    def limit(self, group: str) -> float:
        """The limit of a pooled claim: a ceiling or a margin."""
        limits = claim_group(group).limits(self.plan.policy)
        assert limits is not None
        return limits.limit

    def members(self, group: str) -> tuple[Case, ...]:
        """The cases that a pooled claim counts."""
        return {"erasure": self.cases["erasure"], "adversarial": self.valid, "retention": self.retained}[group]

    def case_rate(self, candidate: Candidate, case: Case, threshold: float | None = None) -> float:
        """The true rate of one case. Without a threshold, the one of these answers holds."""
        prompt = case.prompt.text if case.prompt else case.concept.prompts[0] if case.concept else ""
        mixture = candidate.mixture(case.group, prompt)
        first, second = (self._model_rate(model, case, threshold) for model in (mixture.first, mixture.second))
        return mixture.share * first + (1 - mixture.share) * second

    def rate(self, candidate: Candidate, group: str, threshold: float | None = None, cases: Sequence[Case] = ()) -> float:
        """The true rate of a pooled claim: the mean over its members, or over `cases` where some are given."""
        return float(np.mean([self.case_rate(candidate, case, threshold) for case in cases or self.members(group)]))

    def pair_rates(self, model: str) -> tuple[float, float]:
        """The shares of pairs that a model loses and wins, over all retained concepts."""
        rows = [row for case in self.retained for row in self._rows(case)]
        recognised = self.images.recognised[:, rows]
        lost = recognised[self.images.models[BASE]] - recognised[self.images.models[model]]
        return float((lost > 0).mean()), float((lost < 0).mean())

    def true_rates(self, candidate: Candidate) -> TrueRates:
        """The true rates of a candidate."""
        worst: dict[str, float] = {}
        for group in GROUPS:
            alone = [self.case_rate(candidate, case) for case in self.members(group) if case.gating]
            worst[group] = max(alone, default=0.0)
        rates = {group: self.rate(candidate, group) for group in GROUPS}
        return TrueRates(rates, worst, {group: self._interval(group, rates[group]) for group in GROUPS})

    def standing(self, true: TrueRates) -> str:
        """Where a candidate stands: "over a limit", "at a limit", "uneven" or "good".

        It is uneven where no pooled rate is over its limit, but the rate of a single prompt or concept is.
        """
        over = [true.rates[group] - self.limit(group) for group in GROUPS]
        if max(over) > TOLERANCE:
            return "over a limit"
        if max(over) >= -TOLERANCE:
            return "at a limit"
        return "uneven" if any(true.worst[group] > self._case_limit(group) for group in GROUPS) else "good"

    def excess(self, true: TrueRates) -> float:
        """The highest ratio of a pooled rate to its limit: 1 is exactly at the limit."""
        return max(true.rates[group] / self.limit(group) for group in GROUPS)

    def _case_limit(self, group: str) -> float:
        """The limit of a single case."""
        return claim_group(group).case_limits(self.cases[group][0], self.plan.policy).limit

    def _interval(self, group: str, rate: float) -> tuple[float, float]:
        """A 95% interval: exact for a rate; normal for a loss, as the variance of a pair is at most its mean square."""
        images = sum(len(self._rows(case)) for case in self.members(group)) * self.images.images_of_each(group)
        if group != "retention":
            interval = stats.binomtest(round(rate * images), images).proportion_ci(0.95, "exact")
            return float(interval.low), float(interval.high)
        reach = 1.96 * float(np.sqrt(max(abs(rate), 1 / images) / images))
        return rate - reach, rate + reach

    def _model_rate(self, model: str, case: Case, threshold: float | None) -> float:
        if case.group == "retention":
            return float((self._recognised(BASE, case) - self._recognised(model, case)).mean())
        scores = self.images.target[case.group][self.images.models[model], self._rows(case)]
        return float((scores > (threshold or self.threshold)).mean())

    def _recognised(self, model: str, case: Case) -> np.ndarray:
        return np.asarray(self.images.recognised[self.images.models[model], self._rows(case)])

    def _probability_of_validity(self, case: Case) -> float:
        assert case.prompt is not None
        figures = self.plan.policy.adversarial
        scores = self.images.target["validation"][self.images.models[BASE], self.images.row("validation", case.prompt.text)]
        return float(stats.binom.sf(figures.valid_at - 1, figures.validation_images, (scores > self.threshold).mean()))

    def _rows(self, case: Case) -> list[int]:
        """The rows of a case's prompts."""
        if case.group == "retention":
            return [self.images.row(case.group, prompt) for prompt in case.concept.prompts] if case.concept else []
        return [self.images.row(case.group, case.prompt.text)] if case.prompt else []


def candidate_at(answers: KnownAnswers, group: str, rate: float, family: Sequence[str], name: str) -> Candidate:
    """A candidate with exactly this true rate in one group. In its other groups it is the retrained model.

    Its images come from two models of `family` whose rates are next to `rate` on either side. Raises UsageError where the
    rates of the family do not enclose `rate`.
    """
    models = sorted((answers.rate(Candidate.of(model), group), model) for model in family)
    for (low, under), (high, over) in pairwise(models):
        if low - TOLERANCE <= rate <= high + TOLERANCE and high > low:
            mixtures = dict.fromkeys(GROUPS, Mixture(RETRAINED, RETRAINED, 1.0))
            mixtures[group] = Mixture(over, under, (rate - low) / (high - low))
            return Candidate(name, mixtures, replacement=True, claim=group)
    raise UsageError(
        f"no two judged models have {group} rates on either side of {rate:g}",
        f"their rates go from {models[0][0]:g} ({models[0][1]}) to {models[-1][0]:g} ({models[-1][1]})",
    )
