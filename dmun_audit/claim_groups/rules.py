"""The rules that decide claims, and the schedule of their looks. Pure functions of outcomes.

The outcomes of a case are in the order of its rounds. An image has the outcome 1 with the target and 0 without it. A pair has
the outcome 1 if the candidate lost it, -1 if it won it, else 0. A running audit uses the rules to decide whether to draw more
images. The conclusion applies the same rules to the records and gets the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from dmun_audit.plan.case import Case
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict import judge_error, sequential
from dmun_audit.verdict.claims import apply_burden, bounded_member, harm_only, judge_against
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

Outcomes = Sequence[int]
OutcomeKind = Literal["rate", "paired"]


@dataclass(frozen=True)
class JudgeErrors:
    """A judge's error counts in the controls.

    Attributes:
        hits: Images with the target in which the judge detected it.
        with_target: Images with the target.
        false_hits: Images without the target in which the judge detected it.
        without_target: Images without the target.
    """

    hits: int
    with_target: int
    false_hits: int
    without_target: int


@dataclass(frozen=True)
class Limits:
    """What a policy requires of a claim. `limit` is its ceiling or margin.

    Attributes:
        first_look: Rounds before the first look at a claim that may stop early.
        worst: The rate (loss) under which every member must be proven to lie; None if nothing must be proven of a member.
        alone: The largest number of images (pairs) of one member that continues alone; None: the rounds of its group.
        further: The largest number of images (pairs) of all members that continue alone; None: as many as `alone` allows.
    """

    limit: float
    burden: Burden
    stopping: Stopping = Stopping.FIXED
    first_look: int = 1
    worst: float | None = None
    alone: int | None = None
    further: int | None = None

    @property
    def stops_early(self) -> bool:
        """Whether the claim may stop before all planned images are drawn."""
        return self.stopping == Stopping.EARLY


class DecidedGroup(Protocol):
    """The part of a claim group that the rules need; see `ClaimGroup`."""

    @property
    def name(self) -> str: ...

    @property
    def outcome(self) -> OutcomeKind: ...

    @property
    def rests_on_detector(self) -> bool: ...

    def limits(self, policy: Policy) -> Limits | None: ...

    def case_limits(self, case: Case, policy: Policy) -> Limits: ...

    def rounds(self, plan: Plan, members: int) -> int: ...

    def cycle(self, plan: Plan) -> int: ...

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision: ...

    def fixed_case_decision(self, plan: Plan, outcomes: Outcomes, limit: float) -> Decision: ...


@dataclass(frozen=True)
class Rules:
    """The rules of one plan for one judge. Without `errors`, no claim includes the judge's error rates."""

    plan: Plan
    errors: JudgeErrors | None = None

    # A whole group.

    def decide_group(self, group: DecidedGroup, outcomes: Sequence[Outcomes]) -> Decision:
        """Decide a group's pooled claim from the outcomes of its members, under the policy's burden of proof.

        A claim that may stop early is decided at the first look that proves or refutes it. There are looks up to the last
        round that every member has completed.
        """
        return apply_burden(self._decide(group, outcomes), self._limits(group).burden)

    def is_decided(self, group: DecidedGroup, outcomes: Sequence[Outcomes]) -> bool:
        """Whether a group's pooled claim is proven or refuted."""
        return self._decide(group, outcomes).verdict != Verdict.INCONCLUSIVE

    def _decide(self, group: DecidedGroup, outcomes: Sequence[Outcomes]) -> Decision:
        limits = self._limits(group)
        if limits.stops_early:
            rounds = min(map(len, outcomes), default=0)
            planned = group.rounds(self.plan, len(outcomes))
            claim = self._claim(group, limits.limit)
            stopped = sequential.decide_sequentially(claim, outcomes, self.schedule(group, planned, upto=rounds), planned)
            return self._on_true_rate(group, replace(stopped, threshold=limits.limit))
        return self._on_true_rate(group, group.fixed_decision(self.plan, outcomes, limits.limit))

    def decide_at_one_look(self, group: DecidedGroup, outcomes: Outcomes, most: int) -> Decision:
        """Decide a pooled claim at one look at all of its outcomes, for a group whose images are not drawn in rounds.

        `outcomes` must come from units that were drawn independently from one population; `most` is the largest number of
        units. The decision is valid whenever the drawing stopped. It holds under the policy's burden of proof.
        """
        return apply_burden(self._at_one_look(group, outcomes, most), self._limits(group).burden)

    def is_decided_at_one_look(self, group: DecidedGroup, outcomes: Outcomes, most: int) -> bool:
        """Whether these outcomes prove or refute the claim of `decide_at_one_look`."""
        return self._at_one_look(group, outcomes, most).verdict != Verdict.INCONCLUSIVE

    def _at_one_look(self, group: DecidedGroup, outcomes: Outcomes, most: int) -> Decision:
        limit = self._limits(group).limit
        decision = sequential.decide_sequentially(self._claim(group, limit), [outcomes], [len(outcomes)], most)
        return self._on_true_rate(group, replace(decision, threshold=limit))

    def corrects_for_judge(self, group: DecidedGroup) -> bool:
        """Whether a group's claim is about the true rate, with the judge's error rates included."""
        return group.rests_on_detector and self.plan.policy.controls.judge_error_gates

    def true_rate(self, decision: Decision) -> dict[str, float]:
        """Bounds on the true rate, with the judge's error rates included; empty if these are unknown."""
        errors, policy = self.errors, self.plan.policy
        if errors is None or not decision.trials or decision.hits is None:
            return {}
        if decision.stopping == Stopping.FIXED:
            counts = (decision.hits, decision.trials)
            upper = judge_error.true_rate_upper(*counts, errors.hits, errors.with_target, policy.alpha)
            lower = judge_error.true_rate_lower(*counts, errors.false_hits, errors.without_target, self.plan.alpha_fail)
        else:
            claim = self._with_errors(decision.threshold, errors)
            counted = sequential.OutcomeCounts(decision.trials - decision.hits, 0, decision.hits)
            upper = judge_error.corrected_upper(claim.upper(counted), errors.hits, errors.with_target, policy.alpha)
            lower = judge_error.corrected_lower(
                claim.lower(counted), errors.false_hits, errors.without_target, self.plan.alpha_fail
            )
        return {"true_rate_upper": upper, "true_rate_lower": lower}

    # A single case.

    def decide_case(self, group: DecidedGroup, case: Case, outcomes: Outcomes, most: int) -> Decision:
        """Decide a single case from all of its outcomes. `most` is the largest number that it may get.

        A rule that may stop early is valid for every number of outcomes.
        """
        limits = group.case_limits(case, self.plan.policy)
        if limits.stops_early:
            claim = self._claim_alone(group, limits.limit)
            decision = sequential.decide_sequentially(claim, [outcomes], [len(outcomes)], most)
        else:
            decision = group.fixed_case_decision(self.plan, outcomes, limits.limit)
        if limits.burden == Burden.PROVE_SAFE:
            return decision
        if limits.worst is None or not limits.stops_early:
            return harm_only(decision)
        counts = sequential.OutcomeCounts.of(outcomes, group.outcome)
        proven = self._claim_alone(group, limits.worst).step(counts) == Verdict.PASS
        return bounded_member(decision, limits.worst, proven)

    def _claim_alone(self, group: DecidedGroup, limit: float) -> sequential.SequentialClaim:
        return sequential.SequentialClaim(group.outcome, limit, limit, self.plan.policy.alpha, self.plan.alpha_fail)

    def continues_alone(self, group: DecidedGroup, case: Case, pooled: Decision, single: Decision) -> bool:
        """Whether more images of a single case may still change the verdict, after the pooled claim is decided.

        A case that must be proven safe, or proven to be under a high rate, continues until it is decided. Any other case
        continues only if the pooled claim passed and the estimate of the case is over its limit.
        """
        if pooled.verdict == Verdict.FAIL or not case.gating or single.verdict == Verdict.FAIL:
            return False
        limits = group.case_limits(case, self.plan.policy)
        if limits.burden == Burden.PROVE_SAFE or limits.worst is not None:
            return single.verdict == Verdict.INCONCLUSIVE
        return pooled.verdict == Verdict.PASS and single.verdict == Verdict.NO_HARM_PROVEN

    # When to look.

    def stops_early(self, group: DecidedGroup) -> bool:
        """Whether the claims of a group may stop early."""
        limits = group.limits(self.plan.policy)
        return limits is not None and limits.stops_early

    def schedule(self, group: DecidedGroup, planned: int, upto: int | None = None) -> list[int]:
        """The rounds after which there is a look: whole cycles, about a batch apart, up to round `upto`."""
        cycle, members = group.cycle(self.plan), max(1, len(self.plan.of_group(group.name)))
        step = cycle * max(1, self.plan.policy.sampling.batch_size // (members * cycle))
        first = cycle * math.ceil(self._limits(group).first_look / cycle)
        return [end for end in sequential.look_schedule(planned, first, step) if upto is None or end <= upto]

    def rounds_of_members(self, group: DecidedGroup, planned: int) -> int:
        """The rounds that prove of a member without any hit (loss) that it is under the policy's worst rate: whole cycles, at most
        `planned`."""
        worst, cycle = self._limits(group).worst, group.cycle(self.plan)
        if worst is None:
            return 0
        return min(planned, cycle * math.ceil(self._claim_alone(group, worst).clean_images() / cycle))

    def rounds_proven_alone(self, group: DecidedGroup, case: Case, planned: int) -> int:
        """The rounds that prove a single case safe without any hit (loss), at most `planned`; 0 if it need not be proven safe."""
        limits = group.case_limits(case, self.plan.policy)
        if limits.burden != Burden.PROVE_SAFE or not limits.stops_early:
            return 0
        return min(planned, self._claim_alone(group, limits.limit).clean_images())

    def most_alone(self, group: DecidedGroup, planned: int) -> int:
        """The largest number of images (pairs) of a member that continues alone; `planned` are the rounds of its group."""
        return max(planned, self._limits(group).alone or 0)

    def further_images(self, group: DecidedGroup) -> float:
        """The largest number of images (pairs) of all members that continue alone."""
        further = self._limits(group).further
        return math.inf if further is None else further

    def images_per_step(self, group: DecidedGroup) -> int:
        """The number of images (pairs) between two looks at a case that continues alone: whole cycles, about a batch."""
        cycle = group.cycle(self.plan)
        return cycle * math.ceil(self.plan.policy.sampling.batch_size / cycle)

    # Limits of the policy.

    def _limits(self, group: DecidedGroup) -> Limits:
        limits = group.limits(self.plan.policy)
        if limits is None:
            raise ValueError(f"The group {group.name} has no pooled claim.")
        return limits

    def _claim(self, group: DecidedGroup, limit: float) -> sequential.SequentialClaim:
        if self.corrects_for_judge(group) and self.errors is not None:
            return self._with_errors(limit, self.errors)
        alpha = self.plan.alpha_on_rates if group.rests_on_detector else self.plan.policy.alpha
        return sequential.SequentialClaim(group.outcome, limit, limit, alpha, self.plan.alpha_fail)

    def _with_errors(self, ceiling: float, errors: JudgeErrors) -> sequential.SequentialClaim:
        """The claim on the true rate as a claim on the detected rate, with one limit for a proof and one for a refutation."""
        alphas = (self.plan.alpha_on_rates, self.plan.alpha_fail)
        lowest, highest = judge_error.judged_ceilings(
            ceiling, errors.hits, errors.with_target, errors.false_hits, errors.without_target, *alphas
        )
        left = 1.0 - judge_error.SHARE_OF_JUDGE
        return sequential.SequentialClaim("rate", lowest, highest, alphas[0] * left, alphas[1] * left)

    def _on_true_rate(self, group: DecidedGroup, decision: Decision) -> Decision:
        """The decision on the true rate, if the policy requires it and the judge's errors are known."""
        errors, bounds, ceiling = self.errors, self.true_rate(decision), decision.threshold
        if not (self.corrects_for_judge(group) and errors and bounds):
            return decision
        lower, upper = bounds["true_rate_lower"], bounds["true_rate_upper"]
        if decision.stopping == Stopping.EARLY:  # decided by the limits of `_with_errors` already
            p_value = min(1.0, decision.p_refuted / (1.0 - judge_error.SHARE_OF_JUDGE))
            alphas = self.plan.alpha_on_rates, self.plan.alpha_fail
            return replace(decision, lower=lower, upper=upper, p_refuted=p_value, alpha_pass=alphas[0], alpha_fail=alphas[1])
        hits, trials, noise = decision.hits or 0, decision.trials, (errors.false_hits, errors.without_target)
        verdict = judge_against(lower, upper, ceiling)
        needed = judge_error.images_needed(hits, trials, errors.hits, errors.with_target, ceiling, decision.alpha_pass)
        return replace(
            decision,
            verdict=verdict,
            lower=lower,
            upper=upper,
            p_refuted=judge_error.p_value_refuted(hits, trials, *noise, ceiling),
            refutable=judge_error.true_rate_lower(trials, trials, *noise, decision.alpha_fail) > ceiling,
            needed=needed if verdict == Verdict.INCONCLUSIVE else None,
        )
