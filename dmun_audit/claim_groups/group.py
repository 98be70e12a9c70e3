"""The base class of claim groups: what a group plans, draws, decides and writes.

Deciding a single case needs a context (`context.CaseContext`). Deciding a whole group needs records only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dmun_audit.claim_groups.context import CaseContext, JudgeOutcomes
from dmun_audit.claim_groups.rules import Limits, OutcomeKind, Outcomes
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, ImageRecord
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.plan.baseline import Baseline
from dmun_audit.plan.case import Case, ImageRequest, Side
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.regressions import Regression
from dmun_audit.policy import Policy
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict


@dataclass(frozen=True)
class Material:
    """The input from which groups plan their cases. `nearby` are the concepts under test, the most similar first.

    `fingerprint` follows from the candidate's weights (see `plan.seeds`): what is drawn from it cannot be known before these are
    final.
    `unrelated` are the user's own plain prompts; empty for the list that ships with the package. `regressions` are finds of earlier
    audits. `baseline` is what an earlier audit saw of an earlier candidate.
    """

    dossier: Dossier
    policy: Policy
    nearby: tuple[NearbyConcept, ...]
    audit_seed: int
    fingerprint: str = ""
    unrelated: tuple[str, ...] = ()
    regressions: tuple[Regression, ...] = ()
    baseline: Baseline | None = None


@dataclass(frozen=True)
class CaseFindings:
    """A group's decision on one case. `as_record` adds what the plan knows: id, title, concept, prompt."""

    verdict: Verdict
    claim: ClaimRecord
    asked: str
    seen: str
    remedy: str = ""
    images: tuple[ImageRecord, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    more: dict[str, object] = field(default_factory=dict)  # further fields of the record: second, calibration, tables

    def as_record(self, case: Case) -> CaseRecord:
        """The record of a case with these findings."""
        return CaseRecord.model_validate(
            {
                "case_id": case.id,
                "group": case.group,
                "title": case.title,
                "pooled": case.pooled,
                "gating": case.gating,
                "concept": case.concept and case.concept.model_dump(include={"name", "role", "relation", "similarity"}),
                "prompt": case.prompt and case.prompt.model_dump(include={"text", "strategy", "language", "note"}),
                "verdict": self.verdict,
                "claim": self.claim,
                "asked": self.asked,
                "seen": self.seen,
                "remedy": self.remedy,
                "images": self.images,
                "measures": self.measures,
                **self.more,
            }
        )


class ClaimGroup(ABC):
    """A group of cases that share a claim. Subclasses set the attributes and override methods."""

    name: ClassVar[str]
    """The name in ids, evidence and reports, such as "erasure"."""

    order: ClassVar[int]
    """The rank among the groups: cases are planned and run in this order."""

    fixture: ClassVar[str]
    """The pytest fixture that stands for one case, such as "target_prompt"."""

    heading: ClassVar[str] = ""
    """The heading of its section in the report; its name, if empty."""

    fault: ClassVar[str] = "fails a claim of this policy"
    """What a refuted claim says of the candidate, as the rest of a sentence."""

    introduction: ClassVar[str]
    """The introduction of its section in the report."""

    subject: ClassVar[str] = ""
    """The subject of its claims in sentences, such as "nearby concepts" in "The claim on nearby concepts cannot be proven"."""

    outcome: ClassVar[OutcomeKind] = "rate"
    """Whether an outcome belongs to an image (1, 0) or to a pair (1, 0, -1)."""

    unit: ClassVar[str] = "images"
    """The word for the units of outcomes: "images" or "pairs"."""

    required: ClassVar[bool] = True
    """Whether an audit without its cases is only PARTIAL. A descriptive group is not required."""

    draws_in_rounds: ClassVar[bool] = False
    """Whether its cases get their candidate images from `CaseContext.drawn`. The images of the first look are then known before it."""

    # Planning.

    @abstractmethod
    def cases(self, material: Material) -> list[Case]:
        """The cases of a plan, pooled ones last. Raises UsageError if the dossier has too few prompts or concepts for the policy."""

    def later_requests(self, plan: Plan) -> Sequence[ImageRequest]:
        """Candidate images that the group may request during the audit, besides the images of its cases."""
        return ()

    def later_images(self, plan: Plan) -> int:
        """The largest number of images that the group may request during the audit, besides the images of its cases."""
        return 0

    def shortfalls(self, plan: Plan) -> list[str]:
        """Sentences on what the plan cannot deliver. Claims that no outcome can prove are not among them."""
        return []

    def is_required(self, case: Case, plan: Plan) -> bool:
        """Whether an audit without this case is only PARTIAL."""
        return self.required

    # Limits and rounds.

    def limits(self, policy: Policy) -> Limits | None:
        """What the policy requires of the pooled claim; None for a group without a pooled claim."""
        return None

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """What the policy requires of a single case."""
        limits = self.limits(policy)
        assert limits is not None
        return limits

    def rounds(self, plan: Plan, members: int) -> int:
        """The largest number of rounds under the policy. A round is one image (pair) of each of `members` cases."""
        return max((len(case.images_of("candidate")) for case in plan.of_group(self.name)), default=0)

    def cycle(self, plan: Plan) -> int:
        """The number of rounds that use every prompt of a member equally often. The pooled claim stops only after whole cycles."""
        return 1

    def clean_outcomes(self, plan: Plan) -> list[list[int]]:
        """The outcomes of a candidate without any failure, as many as the plan allows."""
        cases = plan.of_group(self.name)
        limits = self.limits(plan.policy)
        if limits is not None and limits.stops_early:
            return [[0] * self.rounds(plan, len(cases)) for _ in cases]
        return [[0] * len(case.images_of("candidate")) for case in cases]

    # Drawing.

    def takes_part(self, case: Case, context: CaseContext) -> bool:
        """Whether a case is drawn round by round. A case that does not take part gets one image."""
        return True

    def counts(self, case: Case, context: CaseContext) -> bool:
        """Whether a case that takes part is a member of the pooled claim."""
        return True

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """All candidate images that a case may get, in the order of its rounds."""
        return case.images_of("candidate")

    def companions(self, images: Sequence[ImageRequest]) -> list[ImageRequest]:
        """The base images that are drawn with candidate images, one for each, in rows of the same order; empty for no such image."""
        return []

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        """The planned images of one model in rows. Images of a row share batches."""
        return [[request for case in plan.of_group(self.name) for request in case.images_of(side)]]

    def outcomes(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> JudgeOutcomes:
        """The outcomes of drawn candidate images of a case."""
        observations = context.observations
        second = observations.detected(images, "second") if observations.has_second_judge else None
        return JudgeOutcomes(observations.detected(images), second)

    def further_claims_decided(
        self, members: Sequence[Case], drawn: Sequence[Sequence[ImageRequest]], context: CaseContext
    ) -> bool:
        """Whether all further pooled claims on the same images are decided."""
        return True

    @property
    def rests_on_detector(self) -> bool:
        """Whether its outcomes are detections of the target.

        If so, a second judge that must agree counts, and the claim includes the judge's error rates if the policy says so.
        """
        return self.outcome == "rate"

    # Deciding.

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        """Decide the pooled claim once, on all planned images, from the outcomes of its members."""
        raise NotImplementedError(f"The claim group {self.name} decides no claim once, on all planned images.")

    def fixed_case_decision(self, plan: Plan, outcomes: Outcomes, limit: float) -> Decision:
        """Decide the claim of a single case once, on all of its planned images."""
        return self.fixed_decision(plan, [outcomes], limit)

    @abstractmethod
    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """Draw and decide one case."""

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """Decide a pooled case from the records of its members. `records` are all records, controls included."""
        raise NotImplementedError(f"The claim group {self.name} has no claim over all of its cases.")

    # Wording.

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """What its single cases tried, such as "16 direct prompts (80 images)"; empty if that adds nothing to the scope.

        `records` has at least one record.
        """
        return ""

    def heading_of(self, record: CaseRecord) -> str:
        """The heading under which a report lists a single case within its group; empty for no heading."""
        return ""
