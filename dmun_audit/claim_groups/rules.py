"""How the claims of groups are decided, and when they are looked at. Pure: outcomes in, decisions out.

The outcomes of a case stand in the order of its rounds: 1 and 0 for an image with and without the target; 1, 0 and -1 for a
pair that the candidate lost, kept and won. An audit asks these rules whether to draw more. The conclusion asks them again
from the records alone and comes to the same decision.
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
from dmun_audit.verdict.claims import apply_burden, harm_only, judge_against
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

Outcomes = Sequence[int]
OutcomeKind = Literal["rate", "paired"]


@dataclass(frozen=True)
class JudgeErrors:
    """What the controls measured of a judge.

    It detected the target in `seen` of `shown` images with it, and in `false_hits` of `clean` images without it.
    """

    seen: int
    shown: int
    false_hits: int
    clean: int


@dataclass(frozen=True)
class Limits:
    """What a policy asks of a claim: `limit` is its ceiling or margin."""

    limit: float
    burden: Burden
    stopping: Stopping = Stopping.FIXED
    first_look: int = 1  # rounds before a claim that may stop early is first looked at

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

    def limits(self, policy: Policy) -> Limits | None: ...

    def case_limits(self, case: Case, policy: Policy) -> Limits: ...

    def rounds(self, plan: Plan, members: int) -> int: ...

    def cycle(self, plan: Plan) -> int: ...

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision: ...

    def fixed_case_decision(self, plan: Plan, outcomes: Outcomes, limit: float) -> Decision: ...


@dataclass(frozen=True)
class Rules:
    """The rules of one plan for one judge. Without `errors` the judge's mistakes are carried into no claim."""

    plan: Plan
    errors: JudgeErrors | None = None

    # A whole group.

    def decide_group(self, group: DecidedGroup, outcomes: Sequence[Outcomes]) -> Decision:
        """Decide a group's pooled claim from the outcomes of its members, under the policy's burden of proof.

        A claim that may stop early goes through its looks, as far as every member has been drawn. It stops at the first
        look that decides it.
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

    def corrects_for_judge(self, group: DecidedGroup) -> bool:
        """Whether a group's claim is about the true rate, with the judge's own errors carried in."""
        return group.outcome == "rate" and self.plan.policy.controls.judge_error_gates

    def true_rate(self, decision: Decision) -> dict[str, float]:
        """Bounds on the true rate, with the judge's own errors carried in; empty where these are not known."""
        errors, policy = self.errors, self.plan.policy
        if errors is None or not decision.trials or decision.hits is None:
            return {}
        if decision.stopping == Stopping.FIXED:
            counts = (decision.hits, decision.trials)
            upper = judge_error.true_rate_upper(*counts, errors.seen, errors.shown, policy.alpha)
            lower = judge_error.true_rate_lower(*counts, errors.false_hits, errors.clean, self.plan.alpha_fail)
        else:
            claim = self._with_errors(decision.threshold, errors)
            counted = sequential.OutcomeCounts(decision.trials - decision.hits, 0, decision.hits)
            upper = judge_error.corrected_upper(claim.upper(counted), errors.seen, errors.shown, policy.alpha)
            lower = judge_error.corrected_lower(claim.lower(counted), errors.false_hits, errors.clean, self.plan.alpha_fail)
        return {"true_rate_upper": upper, "true_rate_lower": lower}

    # A single case.

    def decide_case(self, group: DecidedGroup, case: Case, outcomes: Outcomes, most: int) -> Decision:
        """Decide a single case from all of its outcomes, of which there may be `most`.

        A rule that may stop early holds at every number of outcomes.
        """
        limits = group.case_limits(case, self.plan.policy)
        if limits.stops_early:
            levels = (self.plan.policy.alpha, self.plan.alpha_fail)
            claim = sequential.SequentialClaim(group.outcome, limits.limit, limits.limit, *levels)
            decision = sequential.decide_sequentially(claim, [outcomes], [len(outcomes)], most)
        else:
            decision = group.fixed_case_decision(self.plan, outcomes, limits.limit)
        return decision if limits.burden == Burden.PROVE_SAFE else harm_only(decision)

    def continues_alone(self, group: DecidedGroup, case: Case, pooled: Decision, own: Decision) -> bool:
        """Whether a case is drawn further by itself once its group's claim is decided.

        It is, where its own claim is open and could change the verdict. A claim of safety goes on until it is decided.
        Proof of harm is sought only where the group passed as a whole and the case does worse than its limit.
        """
        if pooled.verdict == Verdict.FAIL or not case.gating or own.verdict == Verdict.FAIL:
            return False
        if group.case_limits(case, self.plan.policy).burden == Burden.PROVE_SAFE:
            return own.verdict == Verdict.INCONCLUSIVE
        return pooled.verdict == Verdict.PASS and own.estimate is not None and own.estimate > own.threshold

    # When to look.

    def stops_early(self, group: DecidedGroup) -> bool:
        """Whether the claims of a group may stop early."""
        limits = group.limits(self.plan.policy)
        return limits is not None and limits.stops_early

    def schedule(self, group: DecidedGroup, planned: int, upto: int | None = None) -> list[int]:
        """The round ends at which a group is looked at: whole cycles of up to a batch each, of at most `upto` rounds."""
        cycle, members = group.cycle(self.plan), max(1, len(self.plan.of_group(group.name)))
        step = cycle * max(1, self.plan.policy.sampling.batch // (members * cycle))
        first = cycle * math.ceil(self._limits(group).first_look / cycle)
        return [end for end in sequential.look_schedule(planned, first, step) if upto is None or end <= upto]

    def step_alone(self, group: DecidedGroup) -> int:
        """How many images (pairs) a case that goes on alone gets before the next look: whole cycles of about a batch."""
        cycle = group.cycle(self.plan)
        return cycle * math.ceil(self.plan.policy.sampling.batch / cycle)

    # What the policy says.

    def _limits(self, group: DecidedGroup) -> Limits:
        limits = group.limits(self.plan.policy)
        if limits is None:
            raise ValueError(f"The group {group.name} has no pooled claim.")
        return limits

    def _claim(self, group: DecidedGroup, limit: float) -> sequential.SequentialClaim:
        if self.corrects_for_judge(group) and self.errors is not None:
            return self._with_errors(limit, self.errors)
        return sequential.SequentialClaim(group.outcome, limit, limit, self.plan.policy.alpha, self.plan.alpha_fail)

    def _with_errors(self, ceiling: float, errors: JudgeErrors) -> sequential.SequentialClaim:
        """The claim on the true rate, as a claim on the judged rate: its limits for a proof and for a refutation."""
        alphas = (self.plan.policy.alpha, self.plan.alpha_fail)
        lowest, highest = judge_error.judged_ceilings(
            ceiling, errors.seen, errors.shown, errors.false_hits, errors.clean, *alphas
        )
        left = 1.0 - judge_error.SHARE_OF_JUDGE
        return sequential.SequentialClaim("rate", lowest, highest, alphas[0] * left, alphas[1] * left)

    def _on_true_rate(self, group: DecidedGroup, decision: Decision) -> Decision:
        """The decision on the true rate, where the policy asks for it and the judge's errors are known."""
        errors, bounds, ceiling = self.errors, self.true_rate(decision), decision.threshold
        if not (self.corrects_for_judge(group) and errors and bounds):
            return decision
        lower, upper = bounds["true_rate_lower"], bounds["true_rate_upper"]
        if decision.stopping == Stopping.EARLY:  # decided by the limits of `_with_errors` already
            p_value = min(1.0, decision.p_refuted / (1.0 - judge_error.SHARE_OF_JUDGE))
            alphas = self.plan.policy.alpha, self.plan.alpha_fail
            return replace(decision, lower=lower, upper=upper, p_refuted=p_value, alpha_pass=alphas[0], alpha_fail=alphas[1])
        hits, trials, noise = decision.hits or 0, decision.trials, (errors.false_hits, errors.clean)
        verdict = judge_against(lower, upper, ceiling)
        needed = judge_error.images_needed(hits, trials, errors.seen, errors.shown, ceiling, decision.alpha_pass)
        return replace(
            decision,
            verdict=verdict,
            lower=lower,
            upper=upper,
            p_refuted=judge_error.p_value_refuted(hits, trials, *noise, ceiling),
            refutable=judge_error.true_rate_lower(trials, trials, *noise, decision.alpha_fail) > ceiling,
            needed=needed if verdict == Verdict.INCONCLUSIVE else None,
        )
