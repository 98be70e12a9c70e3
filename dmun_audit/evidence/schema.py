"""Evidence as typed records: one `CaseRecord` for each line of evidence.jsonl. `evidence.manifest` has the manifest.

All records are frozen: a step that adjusts or waives returns a new record. Files are validated once, when they are read
(`evidence.reading`). The current format is 3. Files of the formats 1 (version 0.1.0) and 2 can be read too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

FORMAT = 3
"""The format that this version writes."""

READ_FORMATS = (1, 2, 3)
"""The formats that this version reads."""

FIRST_WITH_CHECKSUMS = 3
"""The first format whose run folders hold SHA256SUMS, dossier and policy, so that the verdict can be derived again."""

JsonObject = dict[str, Any]
Side = Literal["base", "candidate", "candidate, own settings", "control model"]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a number in the evidence must be finite")
    return value


def _burden(value: object) -> object:
    if not isinstance(value, str):
        return value
    return Burden.PROVE_SAFE if value == "prove safety" else Burden(value)  # files of format 1 say "prove safety"


Number = Annotated[float, AfterValidator(_finite)]


class Record(BaseModel):
    """What all records share: they are frozen, and ignore keys that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def __getitem__(self, name: str) -> Any:
        """The field of that name: `record["measures"]` is `record.measures`."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        """Whether the field of that name is set: `"waiver" in record`."""
        return name in type(self).model_fields and getattr(self, name) is not None

    def to_json(self) -> JsonObject:
        """Plain values for JSON, without fields that are not set."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_(self, **changes: Any) -> Self:
        """A copy with other values of these fields."""
        return self.model_copy(update=changes)


class ImageRecord(Record):
    """One image of a case, with the scores and answers of the judges."""

    model: Side = Field(description="The model that rendered it, and whether under its own settings.")
    prompt: str = Field(description="The prompt that it was rendered from.")
    index: int = Field(default=0, description="The index of its seed among the seeds of the prompt.")
    seed: int | None = Field(default=None, description="The seed of its noise.")
    key: str = Field(default="", description="Its key in the store. The run folder holds it as images/KEY.png.")
    target_score: Number | None = Field(default=None, description="The detector's score for the target, in [0, 1].")
    view_score: Number | None = Field(
        default=None, description="Its score in the view with stretched contrast, which has a threshold of its own."
    )
    detected: bool | None = Field(default=None, description="Whether a score exceeds its detection threshold.")
    clip_score: Number | None = Field(default=None, description="Cosine of image and prompt, in [-1, 1].")
    label: str | None = Field(default=None, description="The label that the judge chose for it, in retention cases.")
    second_score: Number | None = Field(default=None, description="The second judge's score for the target, in [0, 1].")
    second_detected: bool | None = Field(default=None, description="Whether the second judge detects the target.")
    against: bool | None = Field(
        default=None,
        description="Whether it counts against the claim, if the claim group sets it. Otherwise detections and labels decide.",
    )


class CalibrationImage(Record):
    """One image without the target on which the detection threshold was calibrated."""

    key: str = Field(description="Its key in the store.")
    target_score: Number = Field(description="The detector's score for the target, in [0, 1].")
    view_score: Number | None = Field(default=None, description="Its score in the view with stretched contrast.")
    prompt: str | None = Field(default=None, description="The prompt that it was rendered from.")
    index: int | None = Field(default=None, description="The index of its seed among the seeds of the prompt.")
    sets_threshold: bool | None = Field(
        default=None, description="Whether its score sets the threshold, or would without the cap."
    )
    sets_view_threshold: bool | None = Field(default=None, description="Whether its score sets the threshold of the view.")


class ClaimRecord(Record):
    """The numbers of a claim. Which of them it has depends on `kind`."""

    kind: str = Field(
        description="One of: rate_at_most, rate_at_least, paired_accuracy, paired_score, validity, weakened, observation, ordering, probe or baseline, "
        "or the kind of a claim group of another package."
    )
    hits: int | None = Field(default=None, description="Images with the target, or pairs that the candidate lost.")
    trials: int | None = Field(default=None, description="Images, or pairs of images.")
    threshold: Number | None = Field(default=None, description="The ceiling, floor or margin.")
    estimate: Number | None = Field(default=None, description="The observed rate, loss or mean.")
    lower: Number | None = Field(default=None, description="One-sided lower bound.")
    upper: Number | None = Field(default=None, description="One-sided upper bound.")
    alpha_pass: Number | None = Field(default=None, description="Error rate of a PASS.")
    alpha_fail: Number | None = Field(default=None, description="Error rate of a FAIL.")
    gains: int | None = Field(default=None, description="Pairs that the candidate won.")
    p_value: Number | None = Field(default=None, description="A p-value, if the kind has one.")
    p_refuted: Number | None = Field(default=None, description="The p-value against the claim.")
    holm: Number | None = Field(default=None, description="The p-value after Holm's adjustment over its family.")
    refutable: bool | None = Field(default=None, description="Whether some outcome of this number of trials is a FAIL.")
    needed: int | None = Field(default=None, description="The number of images (pairs) that would decide an undecided claim.")
    burden: Annotated[Burden, BeforeValidator(_burden)] | None = Field(default=None, description="What the claim must show.")
    stopping: Stopping | None = Field(default=None, description="Whether it is decided once, or may stop early.")
    planned: int | None = Field(default=None, description="The largest number of images (pairs) of a claim that may stop early.")
    looks: tuple[int, ...] = Field(default=(), description="The numbers of images (pairs) at its looks.")
    worst: Number | None = Field(
        default=None, description="Of a single case: the rate (loss) under which it must be proven to lie, besides the limit."
    )
    outcomes: tuple[int, ...] | None = Field(
        default=None,
        description="The outcomes of a single case, in the order of its rounds. An image: 1 with the target, 0 without. A pair: "
        "1 lost, 0 unchanged, -1 won.",
    )
    base_right: int | None = Field(default=None, description="Base images of the concept that the judge recognises.")
    base_images: int | None = Field(default=None, description="Base images of the concept that the judge labelled.")
    p_imagined: Number | None = Field(
        default=None, description="For an invalid prompt: the p-value of its hits if all are false positives of the judge."
    )

    @property
    def harm_only(self) -> bool:
        """Whether the claim passes unless harm is proven."""
        return self.burden is Burden.PROVE_HARM

    @property
    def over_limit(self) -> bool:
        """Whether the upper bound exceeds the limit, so that the claim is not proven."""
        return self.upper is not None and self.threshold is not None and self.upper > self.threshold


class ConceptRecord(Record):
    """The nearby concept of a case."""

    name: str
    role: str = Field(default="", description="One of: retain, erase, observe.")
    relation: str = Field(default="", description="One of: parent, sibling, child, attribute, associated.")
    similarity: Number | None = Field(default=None, description="Similarity to the target as the dossier states it, in [0, 1].")


class PromptRecord(Record):
    """The prompt of a case."""

    text: str
    strategy: str = Field(default="", description="One of: direct, work, or the strategy of an adversarial prompt.")
    language: str = Field(default="", description="A BCP 47 tag.")
    note: str = Field(default="", description="How an adversarial prompt was found.")


class SecondOpinion(Record):
    """The second judge's verdict and claim on the same images."""

    verdict: Verdict
    claim: ClaimRecord


class WaiverRecord(Record):
    """The waiver that covers a case's FAIL or INCONCLUSIVE."""

    reason: str
    owner: str
    expires: str = Field(description="The last day on which it holds.")


class Correlation(Record):
    """Spearman's rank correlation of one source's similarity with one measure of damage."""

    source: str = Field(description="Its name, with its model where several models are of one kind.")
    model: str = Field(default="", description="The language model or vision-language model that gave the ordering.")
    damage: str = Field(default="clip_accuracy")
    rho: Number | None = None
    lower: Number | None = None
    upper: Number | None = None
    p_value: Number | None = None
    p_holm: Number | None = None
    n: int = Field(default=0, description="Concepts.")
    descriptive: bool = Field(default=True, description="Whether there are too few concepts for a conclusion.")
    needed: int | None = Field(
        default=None,
        description="Concepts with which a test at the 5% level would show this rho with 80% power; none: no number.",
    )
    note: str = ""


class SourceDifference(Record):
    """The difference of two sources' rank correlations with one measure of damage, over the concepts that both order."""

    damage: str
    first: str = Field(description="The source with the higher rho.")
    second: str
    difference: Number | None = Field(default=None, description="The first rho minus the second.")
    lower: Number | None = Field(default=None, description="Lower end of its 95% interval.")
    upper: Number | None = Field(default=None, description="Upper end.")
    p_value: Number | None = Field(default=None, description="Two-sided p-value.")
    p_holm: Number | None = Field(default=None, description="Adjusted over all pairs of sources and all measures of damage.")
    n: int = Field(default=0, description="Concepts.")
    needed: int | None = Field(
        default=None, description="Concepts with which a test at the 5% level would tell the two apart with 80% power."
    )


class Tables(Record):
    """The tables of a case with more than one claim."""

    sources: tuple[Correlation, ...] = ()
    differences: tuple[SourceDifference, ...] = Field(
        default=(), description="Every pair of sources, for every measure of damage."
    )


class ProbeImage(ImageRecord):
    """One image that a probe drew."""

    dose: str = Field(description="The dose at which it was drawn.")
    placebo: bool = Field(default=False, description="Whether the candidate drew it as its own control.")


class FindRecord(Record):
    """What an attack found on one model. The run folder holds it as finds/KEY.safetensors."""

    model: Side
    dose: str
    key: str = Field(description="Its key in the store.")
    sha256: str = Field(description="SHA-256 of its file.")
    kind: str = Field(description="One of: tokens, embedding, latents, adapter, classifier.")
    words: tuple[str, ...] = Field(default=(), description="Its tokens as text.")
    losses: tuple[Number, ...] = Field(default=(), description="The loss of the attack at regular steps.")
    settings: dict[str, Any] = Field(default_factory=dict, description="The settings of the probe at the dose.")
    version: int = Field(default=1, description="The version of the probe.")
    seeds: tuple[int, ...] = Field(default=(), description="The seeds of the units that it was made for; empty for all units.")
    placebo: bool = Field(default=False, description="Whether the candidate was its own control.")


class DoseRecord(Record):
    """The outcomes at one dose: 1 for a unit whose image shows the target, 0 for another. All lists have the order of the units.

    Of a probe that stops at its first success, a unit that had shown the target at an earlier dose is not drawn again: it counts as 1.
    """

    label: str
    gradient_steps: int = Field(default=0, description="Gradient steps of one find up to this dose.")
    candidate: tuple[int, ...] = ()
    control: tuple[int, ...] = ()
    base: tuple[int, ...] = Field(default=(), description="Of the first units alone.")


class ProbeRecord(Record):
    """What a probe tried, what it spent and what came back."""

    name: str
    explanation: str = ""
    source: str = Field(default="", description="Paper and section.")
    effort: str = ""
    success: str = Field(default="each", description='"each": every dose has a claim. "any": a unit counts if any dose shows it.')
    control: str = Field(
        default="", description='"model": a model that never knew the target. "placebo": the candidate itself. Or "none".'
    )
    control_model: str = Field(default="", description="The reference of the control model.")
    refusal: str = Field(default="", description="Why the probe was not tried; empty if it was.")
    units: int = Field(default=0, description="Prompts with seeds.")
    row: int = Field(default=0, description="Units that are drawn between two looks.")
    examples: int = Field(default=0, description="Base images of the target that the probe learned from.")
    without_probe: tuple[int, ...] = Field(default=(), description="The candidate's outcomes without the probe, unit by unit.")
    doses: tuple[DoseRecord, ...] = ()
    finds: tuple[FindRecord, ...] = ()
    images: tuple[ProbeImage, ...] = ()
    came_back: bool = Field(default=False, description="Whether the claim is refuted: the target is back beyond the control.")
    out_of_time: bool = Field(default=False, description="Whether --max-probe-minutes ended it.")

    @property
    def was_tried(self) -> bool:
        """Whether any unit was drawn."""
        return bool(self.without_probe)


class Volatile(Record):
    """What may differ between two runs of the same audit."""

    seconds: Number | None = None
    worker: str | None = None
    rendered: int = 0
    rechecked: int = Field(default=0, description="Stored images that were rendered again and were the same.")
    finished: str | None = None
    gradient_steps: int = Field(default=0, description="Gradient steps that a probe took in this run.")
    drawing: dict[str, tuple[int, Number]] = Field(
        default_factory=dict, description="By model: images drawn in this run, and the seconds that it took."
    )


class CaseRecord(Record):
    """One case: its claim, its images and its verdict. One line of evidence.jsonl."""

    case_id: str = Field(description="Stable ASCII id.")
    group: str = Field(default="", description="The claim group, such as erasure.")
    title: str = Field(default="", description="The claim in words.")
    pooled: bool = Field(default=False, description="Whether it is decided over its whole group, after the last case.")
    gating: bool = Field(default=True, description="Whether it counts in the verdict on the audit.")
    verdict: Verdict
    asked: str = Field(default="", description="What the case tests, in a sentence.")
    seen: str = Field(default="", description="What the images show, in sentences.")
    remedy: str = Field(default="", description="What to do about it; empty if there is nothing to do.")
    claim: ClaimRecord | None = None
    concept: ConceptRecord | None = None
    prompt: PromptRecord | None = None
    images: tuple[ImageRecord, ...] = ()
    measures: dict[str, Number] = Field(default_factory=dict, description="Further measures by name.")
    calibration: tuple[CalibrationImage, ...] | None = Field(
        default=None, description="For the sensitivity control: the images on which the detection threshold was calibrated."
    )
    second: SecondOpinion | None = None
    waiver: WaiverRecord | None = None
    tables: Tables | None = None
    probe: ProbeRecord | None = Field(
        default=None, description="For a case with the weights in hand: what was tried and what came back."
    )
    volatile: Volatile = Volatile()

    @property
    def name(self) -> str:
        """A short name for reports: the prompt in quotes, else the concept, else the id."""
        if self.prompt:
            return f"“{self.prompt.text}”"
        return self.concept.name if self.concept else self.case_id

    @property
    def all_images(self) -> tuple[ImageRecord, ...]:
        """Its images, and those that a probe drew."""
        return (*self.images, *self.probe.images) if self.probe else self.images

    @property
    def is_waived(self) -> bool:
        """Whether its FAIL or INCONCLUSIVE is waived."""
        return self.waiver is not None and self.verdict.is_failure

    @property
    def is_failure(self) -> bool:
        """Whether it fails its test: refuted or undecided, and not waived."""
        return self.verdict.is_failure and not self.is_waived

    def with_claim(self, **changes: Any) -> CaseRecord:
        """A copy with other numbers in its claim."""
        assert self.claim is not None
        return self.model_copy(update={"claim": self.claim.model_copy(update=changes)})


def without_volatile(record: Mapping[str, Any]) -> JsonObject:
    """A record as JSON without `volatile`: the part that is equal in every run of the same audit."""
    return {name: value for name, value in record.items() if name != "volatile"}
