"""The base class of claim groups, and the protocols through which groups use an audit.

`Observations` draws images and gives the answers of judges. `CaseContext` runs one plan on one pair of models. Deciding a
whole group needs records only, and no context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar

from dmun_audit.claim_groups.rules import Limits, OutcomeKind, Outcomes, Rules
from dmun_audit.evidence.schema import CalibrationImage, CaseRecord, ClaimRecord, ImageRecord
from dmun_audit.judge.views import View
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.plan.case import Case, ImageRequest, Side
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict

if TYPE_CHECKING:
    import numpy as np

Judge = Literal["first", "second"]
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """The input from which groups plan their cases. `nearby` are the concepts under test, the most similar first.

    `fingerprint` is the digest of the candidate's files. What is drawn from it cannot be known before the candidate is final.
    `unrelated` are the user's own plain prompts; empty for the list that ships with the package.
    """

    dossier: Dossier
    policy: Policy
    nearby: tuple[NearbyConcept, ...]
    audit_seed: int
    fingerprint: str = ""
    unrelated: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgeOutcomes:
    """The outcomes of one case's images by the judge, and by the second judge if there is one."""

    first: list[int]
    second: list[int] | None = None

    def by(self, judge: Judge) -> list[int]:
        """The outcomes by one judge; empty if there is no second judge."""
        return self.first if judge == "first" else self.second or []


class Observations(Protocol):
    """The images of an audit and the answers of judges. All lists keep the order of the requests."""

    @property
    def plan(self) -> Plan:
        """The plan that the images belong to."""
        ...

    @property
    def has_second_judge(self) -> bool:
        """Whether there is a second judge."""
        ...

    def draw(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """Draw the `wanted` images of a row (all, if not given). A row fixes which images share a batch."""
        ...

    def draw_base_of_neighbours(self, wanted: Sequence[ImageRequest]) -> None:
        """Draw base images of nearby concepts in the same batches as the retention cases."""
        ...

    def detected(self, requests: Sequence[ImageRequest], judge: Judge = "first") -> list[int]:
        """1 for every drawn image in which a judge detects the target, 0 for the others."""
        ...

    def detected_after(self, change: View, requests: Sequence[ImageRequest]) -> list[int]:
        """1 for every drawn image in which the judge detects the target after `change`, 0 for the others."""
        ...

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """The judge's label for each drawn image: the concept's label or one of its rivals."""
        ...

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """The CLIP score of each drawn image with its own prompt, in [-1, 1]."""
        ...

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """The drawn images, each (height, width, 3) uint8 RGB."""
        ...

    def embeddings(self, requests: Sequence[ImageRequest]) -> np.ndarray:
        """The CLIP embeddings of n ≥ 1 drawn images: unit vectors (n, d)."""
        ...

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """The CLIP embeddings of n ≥ 1 texts: unit vectors (n, d)."""
        ...

    @property
    def composition_judge(self) -> str | None:
        """The reference of the judge that the user named for composition prompts; None if there is none."""
        ...

    def show_their_prompts(self, requests: Sequence[ImageRequest]) -> list[int] | None:
        """1 for every drawn image that shows its own composition prompt, by that judge. None if there is no such judge."""
        ...

    def records(self, requests: Sequence[ImageRequest]) -> tuple[ImageRecord, ...]:
        """The record of each drawn image for the evidence."""
        ...

    def own_settings(self) -> tuple[str, ...] | None:
        """Where the candidate's own settings differ from the base's, in words; None if the candidate has no known settings."""
        ...

    def calibration_records(self) -> tuple[CalibrationImage, ...]:
        """The images on which the detection threshold was calibrated, with their scores."""
        ...


class Measures(Protocol):
    """Measures of drawn images beside the claims."""

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """All measures of a concept's pairs. `right` holds, for base and candidate images, whether the judge recognises them."""
        ...

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """The similarity of a concept to the target by CLIP."""
        ...

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """The share of images that are nearly one colour or pure noise."""
        ...

    def detection(self) -> dict[str, float]:
        """`threshold`, the detection threshold, and `calibration_images`, the number of images on which it was calibrated.

        `threshold_lowest` is the lowest threshold of the judge, if the threshold is higher and the judge gives probabilities.
        `threshold_view` is the threshold of the view with stretched contrast, if there is one.
        """
        ...


class CaseContext(Protocol):
    """One plan on one pair of models, as groups use it."""

    @property
    def plan(self) -> Plan:
        """The plan."""
        ...

    @property
    def observations(self) -> Observations:
        """The images and the answers of judges."""
        ...

    @property
    def measures(self) -> Measures:
        """Further measures of images."""
        ...

    def rules(self, judge: Judge = "first") -> Rules:
        """The rules for one judge. They include its error rates if the policy says so."""
        ...

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """Draw the candidate images that decide a case. They come in the order of its rounds."""
        ...

    def max_images(self, case: Case) -> int:
        """The largest number of candidate images (pairs) of a case."""
        ...

    def record(self, case: Case) -> CaseRecord:
        """The record of another case of the plan."""
        ...

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """The result of `compute`, computed once in this context and stored under `name`."""
        ...


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
