"""What a claim group is: one class with a default for everything that groups seldom do differently.

The groups know an audit through two protocols: `Observations` draws images and says what judges see in them, `CaseContext`
is one plan at work on one pair of models. Deciding a whole group needs records alone, and no context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, TypeVar

from dmun_audit.claim_groups.rules import Limits, OutcomeKind, Outcomes, Rules
from dmun_audit.evidence.schema import CalibrationImage, CaseRecord, ClaimRecord, ImageRecord
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.plan.case import Case, ImageRequest, Side
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict

Judge = Literal["first", "second"]
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What a plan is made from. `nearby` are the concepts under test, the most similar first."""

    dossier: Dossier
    policy: Policy
    nearby: tuple[NearbyConcept, ...]
    audit_seed: int


@dataclass(frozen=True)
class JudgeOutcomes:
    """The outcomes of one case's images: by the judge, and by the second judge where there is one."""

    first: list[int]
    second: list[int] | None = None

    def by(self, judge: Judge) -> list[int]:
        """The outcomes by one judge; empty where there is no second one."""
        return self.first if judge == "first" else self.second or []


class Observations(Protocol):
    """The images of an audit and what is seen in them. All lists keep the order of the requests."""

    @property
    def plan(self) -> Plan:
        """The plan that the images belong to."""
        ...

    @property
    def has_second_judge(self) -> bool:
        """Whether a second judge looks at the images."""
        ...

    def draw(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """Draw the `wanted` images of a row (all, if not given). A row fixes which images share a batch."""
        ...

    def draw_base_of_neighbours(self, wanted: Sequence[ImageRequest]) -> None:
        """Draw base images of nearby concepts, in the batches in which the retention cases ask for them."""
        ...

    def detected(self, requests: Sequence[ImageRequest], judge: Judge = "first") -> list[int]:
        """1 for every drawn image in which a judge detects the target, 0 for the others."""
        ...

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """The best label of each drawn image, among the concept's own and its rivals."""
        ...

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """The CLIP score of each drawn image with its own prompt, in [-1, 1]."""
        ...

    def records(self, requests: Sequence[ImageRequest]) -> tuple[ImageRecord, ...]:
        """What the evidence says of each drawn image."""
        ...

    def calibrated_on(self) -> tuple[CalibrationImage, ...]:
        """The images that the detection threshold was calibrated on, with their scores."""
        ...


class Measures(Protocol):
    """Measures of drawn images beside the claims."""

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """All measures of a concept's pairs; `right` says of base and candidate images whether the judge recognises them."""
        ...

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """The similarity of a concept to the target as CLIP finds it."""
        ...

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """The share of images that are nearly of one colour, or static."""
        ...

    def detection(self) -> dict[str, float]:
        """The detection threshold, and on how many images it was calibrated."""
        ...


class CaseContext(Protocol):
    """One plan at work on one pair of models, as a group sees it."""

    @property
    def plan(self) -> Plan:
        """The plan."""
        ...

    @property
    def observations(self) -> Observations:
        """The images and what is seen in them."""
        ...

    @property
    def measures(self) -> Measures:
        """Further measures of images."""
        ...

    def rules(self, judge: Judge = "first") -> Rules:
        """The rules for one judge, its error rates carried in where the policy says so."""
        ...

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """The candidate images that a case is decided on, drawn, in the order of its rounds."""
        ...

    def most(self, case: Case) -> int:
        """How many candidate images (pairs) a case may get."""
        ...

    def record(self, case: Case) -> CaseRecord:
        """The record of another case of the plan."""
        ...

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once in this context and remembered under `name`."""
        ...


@dataclass(frozen=True)
class CaseFindings:
    """What a group says of one case. The runner adds what the plan knows: id, title, concept, prompt."""

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


class ClaimGroup:
    """A group of cases that share a claim. Subclasses state the attributes and override what differs."""

    name: ClassVar[str]
    """The name in ids, evidence and reports, such as "erasure"."""

    order: ClassVar[int]
    """The place among the groups: cases are planned and run in this order."""

    fixture: ClassVar[str]
    """The pytest fixture that stands for one case, such as "target_prompt"."""

    introduction: ClassVar[str]
    """What the group asks, for the head of its section in the report."""

    subject: ClassVar[str] = ""
    """What its claims are about, for sentences such as "The claim on nearby concepts cannot be proven"."""

    outcome: ClassVar[OutcomeKind] = "rate"
    """Whether an outcome is that of an image (1, 0) or of a pair (1, 0, -1)."""

    unit: ClassVar[str] = "images"
    """What an outcome is of: images, or pairs."""

    # Planning.

    def cases(self, material: Material) -> list[Case]:
        """The cases of a plan, pooled ones last. Raises UsageError where the dossier cannot carry the policy."""
        raise NotImplementedError

    def later_requests(self, plan: Plan) -> Sequence[ImageRequest]:
        """Candidate images beyond the cases' own that the group may ask for during the audit."""
        return ()

    def later_images(self, plan: Plan) -> int:
        """How many images the group may ask for at most beyond the cases' own."""
        return 0

    def shortfalls(self, plan: Plan) -> list[str]:
        """Sentences on what the plan cannot keep, beyond claims that no outcome can prove."""
        return []

    # Limits and rounds.

    def limits(self, policy: Policy) -> Limits | None:
        """What the policy asks of the pooled claim; None for a group without one."""
        return None

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """What the policy asks of a single case."""
        limits = self.limits(policy)
        assert limits is not None
        return limits

    def rounds(self, plan: Plan, members: int) -> int:
        """How many rounds of one image (pair) of each of `members` cases the policy allows at most."""
        return max((len(case.images_of("candidate")) for case in plan.of_group(self.name)), default=0)

    def cycle(self, plan: Plan) -> int:
        """Rounds after which every prompt of every member had its turn; only there may the pooled claim stop."""
        return 1

    def clean_outcomes(self, plan: Plan) -> list[list[int]]:
        """The outcomes of a candidate without any fault, as many as the plan allows."""
        cases = plan.of_group(self.name)
        limits = self.limits(plan.policy)
        if limits is not None and limits.stops_early:
            return [[0] * self.rounds(plan, len(cases)) for _ in cases]
        return [[0] * len(case.images_of("candidate")) for case in cases]

    # Drawing. These three are asked while the group is drawn round by round.

    def takes_part(self, case: Case, context: CaseContext) -> bool:
        """Whether a case is drawn round by round. One that does not gets one image."""
        return True

    def counts(self, case: Case, context: CaseContext) -> bool:
        """Whether a case that takes part is a member of the pooled claim."""
        return True

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """The candidate images of a case at most."""
        return case.images_of("candidate")

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        """Which of the cases' own images of one side share batches, where all planned images are drawn."""
        return [[request for case in plan.of_group(self.name) for request in case.images_of(side)]]

    def outcomes(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> JudgeOutcomes:
        """The outcomes of drawn candidate images of a case."""
        observations = context.observations
        second = observations.detected(images, "second") if observations.has_second_judge else None
        return JudgeOutcomes(observations.detected(images), second)

    def further_claims_decided(
        self, members: Sequence[Case], drawn: Sequence[Sequence[ImageRequest]], context: CaseContext
    ) -> bool:
        """Whether further pooled claims over the same images, if there are any, are decided too."""
        return True

    @property
    def heeds_second_judge(self) -> bool:
        """Whether a second judge that must agree has a say in this group."""
        return self.outcome == "rate"

    # Deciding.

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        """Decide the pooled claim once, on all planned images, from the outcomes of its members."""
        raise NotImplementedError

    def fixed_case_decision(self, plan: Plan, outcomes: Outcomes, limit: float) -> Decision:
        """Decide the claim of a single case once, on all of its planned images."""
        return self.fixed_decision(plan, [outcomes], limit)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """Draw and decide one case."""
        raise NotImplementedError

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """Decide a pooled case from the records of its members; `records` are all, the controls among them."""
        raise NotImplementedError

    # Wording.

    def part_of(self, record: CaseRecord) -> str:
        """The heading under which a report lists a single case within its group; empty where the group has no parts."""
        return ""
