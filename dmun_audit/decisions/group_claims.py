"""Which claims a plan makes, alone and over whole groups, how they are decided, and when they are looked at.

Pure: outcomes in, decisions out. The outcomes of a case stand in the order of its rounds: 1 and 0 of an image in which
the target was and was not detected; 1, 0 and -1 of a pair that the candidate lost, kept and won. An audit asks these
rules whether to draw more, and the conclusion asks them again from the evidence alone: both come to the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dmun_audit.plan.plan import Case, Group, Plan, images_of_each
from dmun_audit.policy import Adversarial, Erasure, Retention
from dmun_audit.verdict import judge_error, sequential
from dmun_audit.verdict.claims import Decision, apply_burden, harm_only, judge_against, rate_at_most
from dmun_audit.verdict.paired import accuracy_loss_at_most, mean_difference_at_most
from dmun_audit.verdict.paired_score import score_loss_at_most
from dmun_audit.verdict.vocabulary import Stopping

Outcomes = Sequence[int]


@dataclass(frozen=True)
class JudgeErrors:
    """What the controls measured of a judge: the target `seen` in so many of the images `shown`, and imagined in `false_hits` of `clean`."""

    seen: int
    shown: int
    false_hits: int
    clean: int


@dataclass(frozen=True)
class Rules:
    """The rules of one plan for one judge. Without `errors` its mistakes are carried into no claim."""

    plan: Plan
    errors: JudgeErrors | None = None

    # Over a whole group.

    def together(self, group: Group, outcomes: Sequence[Outcomes]) -> Decision:
        """Decide a group's pooled claim from the outcomes of its members, under the policy's burden of proof.

        One that may stop early goes through its looks as far as every member has been drawn, and stops where it first did.
        """
        return apply_burden(self._decide(group, outcomes), self._figures(group).burden)

    def settled(self, group: Group, outcomes: Sequence[Outcomes]) -> bool:
        """Whether a group's pooled claim is proven or refuted."""
        return self._decide(group, outcomes).verdict != "INCONCLUSIVE"

    def _decide(self, group: Group, outcomes: Sequence[Outcomes]) -> Decision:
        figures = self._figures(group)
        if self.early(group):
            rounds = min(map(len, outcomes), default=0)
            planned = self.rounds(group, len(outcomes))
            stopped = sequential.decide_sequentially(
                self._claim(group), outcomes, self.schedule(group, planned, upto=rounds), planned
            )
            return self._on_true_rate(group, replace(stopped, threshold=_ceiling(figures)))
        if group == "retention":
            rule = accuracy_loss_at_most if self.plan.policy.retention.rule == "bound" else score_loss_at_most
            return rule(*_pairs(outcomes), _ceiling(figures), self.plan.policy.alpha, self.plan.alpha_fail)
        hits, trials = sum(map(sum, outcomes)), sum(map(len, outcomes))
        decision = rate_at_most(hits, trials, _ceiling(figures), self.plan.policy.alpha, self.plan.alpha_fail)
        return self._on_true_rate(group, decision)

    def gate(self, group: Group) -> bool:
        """Whether a group's claim is about the true rate, the judge's own errors carried in."""
        return group in {"erasure", "adversarial"} and self.plan.policy.controls.judge_error_gates

    def scores(self, losses: Sequence[Sequence[float]]) -> Decision:
        """Decide the claim on CLIP scores from by how much each pair of each concept lost; over the pairs that all concepts have.

        Its bets are fixed, so it holds wherever whole cycles end, whatever made the drawing stop there.
        """
        policy, pairs = self.plan.policy, min(map(len, losses), default=0)
        margin = policy.retention.score_margin
        assert margin is not None
        differences = [value for values in losses for value in values[:pairs]]
        decision = mean_difference_at_most(differences, margin, policy.alpha, self.plan.alpha_fail)
        if self.early("retention"):
            looks = tuple(end * len(losses) for end in self.schedule("retention", self.rounds("retention", 0), upto=pairs))
            planned = self.rounds("retention", 0) * len(losses)
            decision = replace(decision, stopping=Stopping.EARLY, planned=planned, looks=looks)
        return apply_burden(decision, policy.retention.burden)

    def true_rate(self, decision: Decision) -> dict[str, float]:
        """Bounds on how often the target is there, the judge's own errors carried in; empty where they are not known."""
        errors, policy = self.errors, self.plan.policy
        if errors is None or not decision.trials or decision.hits is None:
            return {}
        if decision.stopping == "fixed":
            counts = (decision.hits, decision.trials)
            upper = judge_error.true_rate_upper(*counts, errors.seen, errors.shown, policy.alpha)
            lower = judge_error.true_rate_lower(*counts, errors.false_hits, errors.clean, self.plan.alpha_fail)
        else:
            claim = self._with_errors(decision.threshold, errors)
            held = sequential.OutcomeCounts(decision.trials - decision.hits, 0, decision.hits)
            upper = judge_error.corrected_upper(claim.upper(held), errors.seen, errors.shown, policy.alpha)
            lower = judge_error.corrected_lower(claim.lower(held), errors.false_hits, errors.clean, self.plan.alpha_fail)
        return {"true_rate_upper": upper, "true_rate_lower": lower}

    # One case alone.

    def alone(self, case: Case, outcomes: Outcomes, most: int) -> Decision:
        """Decide what a case says by itself, from all of its outcomes, of which there may be `most`.

        A rule that may stop early holds wherever they end.
        """
        kind, ceiling = kind_of(case.group), self._own_ceiling(case)
        policy, alpha_fail = self.plan.policy, self.plan.alpha_fail
        if self.early(case.group):
            claim = sequential.SequentialClaim(kind, ceiling, ceiling, policy.alpha, alpha_fail)
            decision = sequential.decide_sequentially(claim, [outcomes], [len(outcomes)], most)
        elif kind == "paired":
            decision = accuracy_loss_at_most(*_pairs([outcomes]), ceiling, policy.alpha, alpha_fail)
        else:
            decision = rate_at_most(sum(outcomes), len(outcomes), ceiling, policy.alpha, alpha_fail)
        return decision if self.must_be_proven(case) else harm_only(decision)

    def wants_more(self, case: Case, pooled: Decision, own: Decision) -> bool:
        """Whether a case should go on alone, its group's claim being decided: where its own claim is open and could change the verdict.

        A claim of safety goes on until it is decided. Proof of harm is sought only where the group passed as a whole and
        the case does worse than it may.
        """
        if pooled.verdict == "FAIL" or not case.gating or own.verdict == "FAIL":
            return False
        if self.must_be_proven(case):
            return own.verdict == "INCONCLUSIVE"
        return pooled.verdict == "PASS" and own.estimate is not None and own.estimate > own.threshold

    def must_be_proven(self, case: Case) -> bool:
        """Whether a case must be proven safe by itself."""
        policy = self.plan.policy
        if case.group == "adversarial":
            return policy.adversarial.per_prompt == "prove safe"
        if case.group == "retention":
            observed = case.concept is not None and case.concept.role == "observe"
            return policy.retention.per_concept == "prove safe" and not observed
        return False

    # When to look.

    def early(self, group: Group) -> bool:
        """Whether the claims of a group may stop early."""
        return group in _SECTIONS and self._figures(group).stopping == "early"

    def rounds(self, group: Group, members: int) -> int:
        """How many rounds of one image (pair) of each member the policy allows at most: whole cycles, if it allows one."""
        policy, cycle = self.plan.policy, self.cycle(group)
        if group == "retention":
            return policy.retention.pairs // cycle * cycle or policy.retention.pairs
        if group == "erasure":
            return max(len(case.images) for case in self.plan.of_group("erasure"))
        tried = len(self.plan.of_group("adversarial"))
        return images_of_each(policy.adversarial, members, tried - members)

    def cycle(self, group: Group) -> int:
        """Rounds after which every prompt of every member has had its turn; only there may a claim over them stop."""
        if group != "retention":
            return 1
        return math.lcm(*(len(case.concept.prompts) for case in self.plan.of_group("retention") if case.concept))

    def schedule(self, group: Group, planned: int, upto: int | None = None) -> list[int]:
        """The round ends at which a group is looked at, whole cycles of up to a batch each, of at most `upto` rounds."""
        cycle, members = self.cycle(group), max(1, len(self.plan.of_group(group)))
        step = cycle * max(1, self.plan.policy.sampling.batch // (members * cycle))
        first = self.plan.policy.retention.first_look if group == "retention" else 1
        first = cycle * math.ceil(first / cycle)
        return [end for end in sequential.look_schedule(planned, first, step) if upto is None or end <= upto]

    def step_alone(self, group: Group) -> int:
        """How many images (pairs) a case that goes on alone gets before it is looked at again: whole cycles of about a batch."""
        cycle = self.cycle(group)
        return cycle * math.ceil(self.plan.policy.sampling.batch / cycle)

    # What the policy says.

    def _figures(self, group: Group) -> Erasure | Adversarial | Retention:
        figures: Erasure | Adversarial | Retention = getattr(self.plan.policy, _SECTIONS[group])
        return figures

    def _claim(self, group: Group) -> sequential.SequentialClaim:
        ceiling, policy = _ceiling(self._figures(group)), self.plan.policy
        if self.gate(group) and self.errors is not None:
            return self._with_errors(ceiling, self.errors)
        return sequential.SequentialClaim(kind_of(group), ceiling, ceiling, policy.alpha, self.plan.alpha_fail)

    def _with_errors(self, ceiling: float, errors: JudgeErrors) -> sequential.SequentialClaim:
        """The claim on the true rate, as one on the judged rate: what the judge may see at most, and must see at least."""
        alphas = (self.plan.policy.alpha, self.plan.alpha_fail)
        lowest, highest = judge_error.judged_ceilings(
            ceiling, errors.seen, errors.shown, errors.false_hits, errors.clean, *alphas
        )
        left = 1.0 - judge_error.SHARE_OF_JUDGE
        return sequential.SequentialClaim("rate", lowest, highest, alphas[0] * left, alphas[1] * left)

    def _on_true_rate(self, group: Group, decision: Decision) -> Decision:
        """A decision about the judged rate, made one about the true rate where the policy says so and the errors are known."""
        errors, bounds, ceiling = self.errors, self.true_rate(decision), decision.threshold
        if not (self.gate(group) and errors and bounds):
            return decision
        lower, upper = bounds["true_rate_lower"], bounds["true_rate_upper"]
        if decision.stopping == "early":  # which has gone by the limits of `_with_errors` already
            p_value = min(1.0, decision.p_refuted / (1.0 - judge_error.SHARE_OF_JUDGE))
            alphas = self.plan.policy.alpha, self.plan.alpha_fail  # those of the whole bound
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
            needed=needed if verdict == "INCONCLUSIVE" else None,
        )

    def _own_ceiling(self, case: Case) -> float:
        policy = self.plan.policy
        own: Mapping[str, float | None] = {
            "erasure": None,
            "adversarial": policy.adversarial.per_prompt_ceiling,
            "retention": policy.retention.per_concept_margin,
        }
        return own[case.group] or _ceiling(self._figures(case.group))


_SECTIONS: Mapping[Group, str] = {"erasure": "erasure", "adversarial": "adversarial", "retention": "retention"}


def kind_of(group: Group) -> sequential.Kind:
    """Whether the outcomes of a group are those of a rate or of pairs."""
    return "paired" if group == "retention" else "rate"


def _ceiling(figures: Erasure | Adversarial | Retention) -> float:
    return figures.margin if isinstance(figures, Retention) else figures.ceiling


def _pairs(outcomes: Sequence[Outcomes]) -> tuple[int, int, int]:
    """Losses, gains and pairs."""
    every = [value for member in outcomes for value in member]
    return every.count(1), every.count(-1), len(every)
