"""How many images each case gets: all that were planned, or wave by wave until its group's claim is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dmun_audit.audit.observations import Observations, by_rounds, rows_of_retention
from dmun_audit.decisions.group_claims import Rules
from dmun_audit.plan.plan import TEST_INDEX, Case, Group, ImageRequest, images_of_each, requests_for, validation_images
from dmun_audit.verdict.claims import Decision

KNOWN_AT = 0.5  # a concept that the base model gets right less often than this is not known to it


@dataclass(frozen=True)
class JudgeOutcomes:
    """What the judges saw of one case: `first` are the outcomes by the judge, `second` by the second one, where there is one."""

    first: list[int]
    second: list[int] | None = None


class SequentialSampler:
    """Draws the candidate's images. Every process of an audit comes to the same, from the same stored images."""

    def __init__(self, observations: Observations, rules_of: Callable[[Literal[1, 2]], Rules]) -> None:
        self.observations = observations
        self.plan = observations.plan
        self._rules_of = rules_of  # asked late: a judge's error rates come from images
        self._settled: dict[Group, dict[str, tuple[ImageRequest, ...]]] = {}

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """The candidate images that a case is decided on, drawn, in the order of its rounds."""
        if not self.observations.rules.early(case.group):
            self._draw_all(case)
            return self._planned(case)
        if case.group not in self._settled:
            self._settled[case.group] = self._settle(case.group)
        return self._settled[case.group][case.id]

    def most(self, case: Case) -> int:
        """How many candidate images (pairs) a case may get."""
        planned = len(self._planned(case))
        if not self.observations.rules.early(case.group) or not self.is_valid(case):
            return planned
        return self._rules.rounds(case.group, self._members(case.group))

    def _members(self, group: Group) -> int:
        return sum(map(self.is_valid, self.plan.of_group(group)))

    def outcomes(self, case: Case, images: Sequence[ImageRequest]) -> JudgeOutcomes:
        """The outcomes of drawn images of a case: hits, or pairs that were lost; the second judge looks for the target alone."""
        if case.group == "retention":
            return JudgeOutcomes(self._lost(case, images))
        second = self.observations.detected_by_second(images) if self.observations.second is not None else None
        return JudgeOutcomes(self.observations.detected(images), second)

    @property
    def _rules(self) -> Rules:
        return self._rules_of(1)

    # Adversarial prompts: which are valid, and how many images each gets.

    @cached_property
    def validated(self) -> dict[str, tuple[int, int]]:
        """For every adversarial prompt tried: on how many of how many base images it brought out the target."""
        policy, seed = self.plan.policy, self.plan.audit_seed
        prompts = [case.prompt for case in self.plan.of_group("adversarial") if case.prompt]
        images = {prompt.text: validation_images(policy, prompt, seed) for prompt in prompts}
        self.observations.engine.ensure([request for requests in images.values() for request in requests])
        return {text: (sum(self.observations.detected(requests)), len(requests)) for text, requests in images.items()}

    def is_valid(self, case: Case) -> bool:
        """Whether a case's adversarial prompt works on the base model; True for cases of other groups."""
        return case.group != "adversarial" or self.validated[_text(case)][0] >= self.plan.policy.adversarial.valid_at

    @cached_property
    def _each(self) -> int:
        valid = self._members("adversarial")
        return images_of_each(self.plan.policy.adversarial, valid, len(self.validated) - valid)

    # Retention.

    def known(self, case: Case) -> tuple[int, int]:
        """In how many of how many base images the judge recognises a concept."""
        right = self._right(case, self.base_of(case))
        return sum(right), len(right)

    def is_known(self, case: Case) -> bool:
        """Whether the base model draws a concept well enough to lose it."""
        right, images = self.known(case)
        return right >= KNOWN_AT * images

    def base_of(self, case: Case) -> tuple[ImageRequest, ...]:
        """The base images of a nearby concept, all of them."""
        base = tuple(request for request in case.images if request.side == "base")
        self.observations.ensure_base_of_retention(base)
        return base

    def _right(self, case: Case, images: Sequence[ImageRequest]) -> list[bool]:
        assert case.concept is not None
        return [label == case.concept.label for label in self.observations.labels(images, case.concept)]

    def _lost(self, case: Case, images: Sequence[ImageRequest]) -> list[int]:
        base = self._right(case, self.base_of(case)[: len(images)])
        return [before - after for before, after in zip(base, self._right(case, images), strict=True)]

    # Drawing.

    def _planned(self, case: Case) -> tuple[ImageRequest, ...]:
        """The candidate images of a case at most: an invalid prompt gets one, so that a hit there is seen."""
        if case.group != "adversarial":
            return tuple(request for request in case.images if request.side == "candidate")
        each = self._each if self.is_valid(case) else 1
        return requests_for("candidate", [_text(case)], each, self.plan.audit_seed, first=TEST_INDEX)

    def _draw_all(self, case: Case) -> None:
        if case.group == "retention":
            rows = rows_of_retention(self.plan, "candidate", together=False)
            row = next(row for row in rows if row == list(self._planned(case)))
        else:
            row = [request for other in self.plan.of_group(case.group) for request in self._planned(other)]
        self.observations.engine.ensure(row, self._planned(case))

    def _settle(self, group: Group) -> dict[str, tuple[ImageRequest, ...]]:
        """Draw round by round until the group's claim is decided or its images are spent; then single cases that are still open."""
        cases = self.plan.of_group(group)
        able = [case for case in cases if self.is_valid(case)]
        members = [case for case in able if group != "retention" or self._counts(case)]
        planned = {case.id: self._planned(case) for case in cases}
        row = [*by_rounds([planned[case.id] for case in able]), *(planned[case.id][0] for case in cases if case not in able)]
        rounds = self._rules.rounds(group, len(able)) if able else 0
        end = 0
        for end in self._rules.schedule(group, rounds):
            self.observations.engine.ensure(row, by_rounds([planned[case.id] for case in able], end=end))
            if members and self._is_settled(group, members, planned, end):
                break
        drawn = {case.id: planned[case.id][: end if case in able else 1] for case in cases}
        self.observations.engine.ensure(row, [request for images in drawn.values() for request in images])
        if members:
            outcomes = [self.outcomes(case, drawn[case.id]) for case in members]
            pooled = [rules.together(group, [pick(seen) for seen in outcomes]) for rules, pick in self._judges(group)]
            drawn |= {case.id: self._go_on(case, pooled, planned[case.id][:rounds], end) for case in members}
        return drawn

    def _counts(self, case: Case) -> bool:
        return case.concept is not None and case.concept.role == "retain" and self.is_known(case)

    def _is_settled(self, group: Group, members: Sequence[Case], planned: dict[str, tuple[ImageRequest, ...]], end: int) -> bool:
        outcomes = [self.outcomes(case, planned[case.id][:end]) for case in members]
        if not all(rules.settled(group, [pick(seen) for seen in outcomes]) for rules, pick in self._judges(group)):
            return False
        if group != "retention" or self.plan.policy.retention.score_margin is None:
            return True
        return (
            self._rules.scores([self._score_losses(case, planned[case.id][:end]) for case in members]).verdict != "INCONCLUSIVE"
        )

    def _judges(self, group: Group) -> list[tuple[Rules, Callable[[JudgeOutcomes], list[int]]]]:
        """The judges that decide a group, each with its rules and how to take its outcomes out of them."""
        judges: list[tuple[Rules, Callable[[JudgeOutcomes], list[int]]]] = [(self._rules_of(1), lambda seen: seen.first)]
        must_agree = self.observations.second is not None and self.plan.policy.controls.must_agree
        if must_agree and group != "retention":
            judges.append((self._rules_of(2), lambda seen: seen.second or []))
        return judges

    def _score_losses(self, case: Case, images: Sequence[ImageRequest]) -> list[float]:
        before, after = (self.observations.clip_scores(side) for side in (self.base_of(case)[: len(images)], images))
        return [base - candidate for base, candidate in zip(before, after, strict=True)]

    def _go_on(
        self, case: Case, pooled: Sequence[Decision], planned: tuple[ImageRequest, ...], end: int
    ) -> tuple[ImageRequest, ...]:
        """Draw more of one case alone while its own claim wants it: the group's claim is decided and does not hear of these."""
        rest, step = planned[end:], self._rules.step_alone(case.group)
        while end < len(planned):
            outcomes = self.outcomes(case, planned[:end])
            own = [rules.alone(case, pick(outcomes), len(planned)) for rules, pick in self._judges(case.group)]
            if not any(self._rules.wants_more(case, *both) for both in zip(pooled, own, strict=True)):
                break
            end = min(end + step, len(planned))
            self.observations.engine.ensure(rest, [request for request in planned[:end] if request in rest])
        return planned[:end]


def _text(case: Case) -> str:
    assert case.prompt is not None
    return case.prompt.text
