"""Draws candidate images: all planned ones, or round by round until the claim of the group is decided."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from dmun_audit.claim_groups.context import CaseContext, Judge
from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.plan.case import Case, ImageRequest, Row, by_rounds
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict

logger = logging.getLogger(__name__)

Drawn = Mapping[str, tuple[ImageRequest, ...]]
"""Candidate images by case id, in the order of the rounds."""


class SequentialSampler:
    """Draws the candidate's images. All processes of an audit reuse the same stored images and stop at the same round."""

    def __init__(self, context: CaseContext) -> None:
        self._context = context
        self._plan = context.plan
        self._drawn: dict[str, Drawn] = {}  # by group

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """Draw the candidate images that decide a case. They come in the order of its rounds."""
        group = claim_group(case.group)
        if not self._context.rules().stops_early(group):
            planned = group.planned(case, self._context)
            every = [request for each in self._plan.of_group(group.name) for request in group.planned(each, self._context)]
            self._draw(group, self._row_of(group, planned), planned, every)
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

    def _draw(
        self,
        group: ClaimGroup,
        row: Sequence[ImageRequest],
        wanted: Sequence[ImageRequest],
        later: Sequence[ImageRequest] = (),
    ) -> None:
        """Draw candidate images and their companions: the row of the companions has the same order.

        `later` are images that other cases want in any event.
        """
        row_of_companions = group.companions(row)

        def both_rows(images: Sequence[ImageRequest]) -> list[Row]:
            companions = [(row_of_companions, group.companions(images))] if row_of_companions else []
            return [(row, images), *companions]

        self._context.observations.draw_rows(both_rows(wanted), both_rows(later))

    def _participants(self, group: ClaimGroup) -> list[Case]:
        return [case for case in self._plan.of_group(group.name) if group.takes_part(case, self._context)]

    def _row_of(self, group: ClaimGroup, planned: Sequence[ImageRequest]) -> Sequence[ImageRequest]:
        """The row that contains the planned images of a case."""
        wanted = set(planned)
        for row in group.rows(self._plan, "candidate"):
            if wanted <= set(row):
                return row
        cases = self._plan.of_group(group.name)
        return [request for each in cases for request in group.planned(each, self._context)]

    def _draw_group(self, group: ClaimGroup) -> Drawn:
        """Draw round by round until the pooled claim is decided or all images are drawn. Then continue single cases."""
        rules = self._context.rules()
        cases, participants = self._plan.of_group(group.name), self._participants(group)
        members = [case for case in participants if group.counts(case, self._context)]
        planned = {case.id: group.planned(case, self._context) for case in cases}
        rounds = group.rounds(self._plan, len(participants)) if participants else 0
        row = by_rounds([planned[case.id][:rounds] for case in participants])
        row += [request for case in cases if case not in participants for request in planned[case.id][:1]]
        end = 0
        for end in rules.schedule(group, rounds):
            self._draw(group, row, by_rounds([planned[case.id] for case in participants], end=end))
            if members and self._is_decided(group, members, planned, end):
                break
        if members and not self._is_refuted(group, members, planned, end):
            end = max(end, rules.rounds_of_members(group, rounds))
        drawn = {case.id: planned[case.id][: end if case in participants else 1] for case in cases}
        self._draw(group, row, [request for images in drawn.values() for request in images])
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
