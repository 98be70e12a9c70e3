"""Draws candidate images: all planned ones, or round by round until the claim of the group is decided."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmun_audit.claim_groups.context import CaseContext, Judge
from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.plan.case import Case, ImageRequest, Row, by_rounds
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict

logger = logging.getLogger(__name__)

Drawn = Mapping[str, tuple[ImageRequest, ...]]
"""Candidate images by case id, in the order of the rounds."""


@dataclass(frozen=True)
class _Rounds:
    """The rounds of a group: the cases that take part, the planned images by case id, the number of rounds, and the row of them all."""

    participants: list[Case]
    planned: Drawn
    number: int
    row: list[ImageRequest]

    def upto(self, end: int) -> list[ImageRequest]:
        """The images of the first `end` rounds."""
        return by_rounds([self.planned[case.id] for case in self.participants], end=end)


def _with_companions(group: ClaimGroup, row: Sequence[ImageRequest], images: Sequence[ImageRequest]) -> list[Row]:
    """The row of candidate images, and the row of their companions in the same order, if they have any."""
    row_of_companions = group.companions(row)
    return [(row, images), *([(row_of_companions, group.companions(images))] if row_of_companions else [])]


class SequentialSampler:
    """Draws the candidate's images. All processes of an audit reuse the same stored images and stop at the same round.

    `groups` are claim groups whose cases this process and others run at the same time. While another process draws what a look needs,
    this one draws what the first looks of these groups need in any event.
    """

    def __init__(self, context: CaseContext) -> None:
        self.groups: Sequence[str] = ()
        self._context = context
        self._plan = context.plan
        self._drawn: dict[str, Drawn] = {}  # by group

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """Draw the candidate images that decide a case. They come in the order of its rounds."""
        group = claim_group(case.group)
        if not self._context.rules().stops_early(group):
            planned = group.planned(case, self._context)
            self._draw(group, self._row_of(group, planned), planned)
            return planned
        if case.group not in self._drawn:
            self._drawn[case.group] = self._draw_group(group)
        return self._drawn[case.group][case.id]

    def max_images(self, case: Case) -> int:
        """The largest number of candidate images (pairs) of a case."""
        group = claim_group(case.group)
        if self._context.rules().stops_early(group) and group.takes_part(case, self._context):
            return self._context.rules().most_alone(group, group.rounds(self._plan, len(self._participants(group))))
        return len(group.planned(case, self._context))

    def _draw(self, group: ClaimGroup, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest]) -> None:
        """Draw candidate images and their companions."""
        spare = [each for name in self.groups for each in self._first_look(claim_group(name))]
        self._context.observations.draw_rows(_with_companions(group, row, wanted), spare)

    def _first_look(self, group: ClaimGroup) -> list[Row]:
        """What the first look at a group needs: all of its images, if it has only one look."""
        if not group.draws_in_rounds or group.name in self._drawn:
            return []
        if not self._context.rules().stops_early(group):
            every = self._every(group)
            return _with_companions(group, self._row_of(group, every), every)
        rounds = self._rounds(group)
        first = next(iter(self._context.rules().schedule(group, rounds.number)), 0)
        return _with_companions(group, rounds.row, rounds.upto(first))

    def _every(self, group: ClaimGroup) -> list[ImageRequest]:
        return [request for case in self._plan.of_group(group.name) for request in group.planned(case, self._context)]

    def _participants(self, group: ClaimGroup) -> list[Case]:
        return [case for case in self._plan.of_group(group.name) if group.takes_part(case, self._context)]

    def _row_of(self, group: ClaimGroup, planned: Sequence[ImageRequest]) -> Sequence[ImageRequest]:
        """The row that contains the planned images of a case."""
        wanted = set(planned)
        for row in group.rows(self._plan, "candidate"):
            if wanted <= set(row):
                return row
        return self._every(group)

    def _rounds(self, group: ClaimGroup) -> _Rounds:
        cases, participants = self._plan.of_group(group.name), self._participants(group)
        planned = {case.id: group.planned(case, self._context) for case in cases}
        number = group.rounds(self._plan, len(participants)) if participants else 0
        row = by_rounds([planned[case.id][:number] for case in participants])
        row += [request for case in cases if case not in participants for request in planned[case.id][:1]]
        return _Rounds(participants, planned, number, row)

    def _draw_group(self, group: ClaimGroup) -> Drawn:
        """Draw round by round until the pooled claim is decided or all images are drawn. Then continue single cases."""
        rules, of_group = self._context.rules(), self._rounds(group)
        participants, planned, rounds = of_group.participants, of_group.planned, of_group.number
        members = [case for case in participants if group.counts(case, self._context)]
        end = 0
        for end in rules.schedule(group, rounds):
            self._draw(group, of_group.row, of_group.upto(end))
            if members and self._is_decided(group, members, planned, end):
                break
        if members and not self._is_refuted(group, members, planned, end):
            end = max(end, rules.rounds_of_members(group, rounds))
        drawn = {case.id: planned[case.id][: end if case in participants else 1] for case in self._plan.of_group(group.name)}
        self._draw(group, of_group.row, [request for images in drawn.values() for request in images])
        if members:
            pooled = self._pooled(group, members, drawn)
            logger.debug(
                "%s: drawn up to round %d of %d; the pooled claim is %s", group.name, end, rounds, pooled["first"].verdict
            )
            most = rules.most_alone(group, rounds)
            drawn |= self._continue_alone(group, members, pooled, {case.id: planned[case.id][:most] for case in members}, end)
        return drawn

    def _pooled(self, group: ClaimGroup, members: Sequence[Case], drawn: Drawn) -> dict[Judge, Decision]:
        outcomes = [group.outcomes(case, drawn[case.id], self._context) for case in members]
        return {
            judge: self._context.rules(judge).decide_group(group, [each.by(judge) for each in outcomes])
            for judge in self._judges(group)
        }

    def _is_decided(self, group: ClaimGroup, members: Sequence[Case], planned: Drawn, end: int) -> bool:
        drawn = [planned[case.id][:end] for case in members]
        outcomes = [group.outcomes(case, images, self._context) for case, images in zip(members, drawn, strict=True)]
        decided = all(
            self._context.rules(judge).is_decided(group, [each.by(judge) for each in outcomes]) for judge in self._judges(group)
        )
        if logger.isEnabledFor(logging.DEBUG):
            hits = sum(value == 1 for each in outcomes for value in each.first)
            total = sum(len(each.first) for each in outcomes)
            reason = "decided" if decided else "undecided, so another round is drawn"
            logger.debug(
                "%s: look after round %d, %d of %d %s count against the claim: %s",
                group.name,
                end,
                hits,
                total,
                group.unit,
                reason,
            )
        return decided and group.further_claims_decided(members, drawn, self._context)

    def _is_refuted(self, group: ClaimGroup, members: Sequence[Case], planned: Drawn, end: int) -> bool:
        drawn = {case.id: planned[case.id][:end] for case in members}
        return any(decision.verdict == Verdict.FAIL for decision in self._pooled(group, members, drawn).values())

    def _judges(self, group: ClaimGroup) -> list[Judge]:
        """The judges whose decisions on the group must be complete before drawing stops."""
        must_agree = self._context.observations.has_second_judge and self._plan.policy.controls.must_agree
        return ["first", "second"] if must_agree and group.rests_on_detector else ["first"]

    def _continue_alone(
        self, group: ClaimGroup, members: Sequence[Case], pooled: Mapping[Judge, Decision], planned: Drawn, end: int
    ) -> Drawn:
        """Draw more images of undecided members, always of the one with the highest estimate. The pooled claim stays as it is.

        A member stops once more images cannot change the verdict. All stop at the policy's number of further images. Each
        member's claim is anytime-valid, so neither the choice of the member nor the stop changes an error rate.
        """
        rules, ends = self._context.rules(), {case.id: end for case in members}
        left, step = rules.further_images(group), rules.images_per_step(group)
        while left > 0:
            undecided = [
                (estimate, -ends[case.id], case)
                for case in members
                if ends[case.id] < len(planned[case.id])
                and (estimate := self._undecided(group, case, pooled, planned[case.id], ends[case.id])) is not None
            ]
            if not undecided:
                break
            case = max(undecided, key=lambda entry: entry[:2])[2]
            before = ends[case.id]
            ends[case.id] = min(before + step, len(planned[case.id]), before + int(min(left, step)))
            left -= ends[case.id] - before
            logger.debug("%s: case %s continues alone up to image %d", group.name, case.id, ends[case.id])
            rest = planned[case.id][end:]
            self._draw(group, rest, planned[case.id][before : ends[case.id]])
        return {case.id: planned[case.id][: ends[case.id]] for case in members}

    def _undecided(
        self, group: ClaimGroup, case: Case, pooled: Mapping[Judge, Decision], planned: tuple[ImageRequest, ...], end: int
    ) -> float | None:
        """The estimate of a member after `end` images, if more of them can change the verdict; None if not."""
        outcomes = group.outcomes(case, planned[:end], self._context)
        single = {
            judge: self._context.rules(judge).decide_case(group, case, outcomes.by(judge), len(planned)) for judge in pooled
        }
        continues = any(self._context.rules().continues_alone(group, case, pooled[judge], single[judge]) for judge in pooled)
        return max(decision.estimate or 0.0 for decision in single.values()) if continues else None
