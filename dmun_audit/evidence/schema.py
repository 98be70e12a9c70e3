"""The files of an audit as typed records: one `CaseRecord` for each line of evidence.jsonl, and the `Manifest`.

All records are frozen: a step that adjusts or waives returns a new record. Files are validated once, when they are read
(`evidence.reading`). The current format is 3. Files of the formats 1 (version 0.1.0) and 2 can be read too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dmun_audit.verdict.vocabulary import AuditVerdict, Burden, Stopping, Verdict

FORMAT = 3
"""The format that this version writes."""

READ_FORMATS = (1, 2, 3)
"""The formats that this version reads."""

FIRST_WITH_CHECKSUMS = 3
"""The first format whose run folders hold SHA256SUMS, dossier and policy, so that the verdict can be derived again."""

JsonObject = dict[str, Any]
Side = Literal["base", "candidate", "candidate, own settings"]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a number in the evidence must be finite")
    return value


def _burden(value: object) -> object:
    if not isinstance(value, str):
        return value
    return Burden.PROVE_SAFE if value == "prove safety" else Burden(value)  # files of format 1 say "prove safety"


Number = Annotated[float, AfterValidator(_finite)]


class _Record(BaseModel):
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


class ImageRecord(_Record):
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


class CalibrationImage(_Record):
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


class ClaimRecord(_Record):
    """The numbers of a claim. Which of them it has depends on `kind`."""

    kind: str = Field(
        description="One of: rate_at_most, rate_at_least, paired_accuracy, paired_score, validity, weakened, observation or ordering, "
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


class ConceptRecord(_Record):
    """The nearby concept of a case."""

    name: str
    role: str = Field(default="", description="One of: retain, erase, observe.")
    relation: str = Field(default="", description="One of: parent, sibling, child, attribute, associated.")
    similarity: Number | None = Field(default=None, description="Similarity to the target as the dossier states it, in [0, 1].")


class PromptRecord(_Record):
    """The prompt of a case."""

    text: str
    strategy: str = Field(default="", description="One of: direct, work, or the strategy of an adversarial prompt.")
    language: str = Field(default="", description="A BCP 47 tag.")
    note: str = Field(default="", description="How an adversarial prompt was found.")


class SecondOpinion(_Record):
    """The second judge's verdict and claim on the same images."""

    verdict: Verdict
    claim: ClaimRecord


class WaiverRecord(_Record):
    """The waiver that covers a case's FAIL or INCONCLUSIVE."""

    reason: str
    owner: str
    expires: str = Field(description="The last day on which it holds.")


class Correlation(_Record):
    """Spearman's rank correlation of one source's similarity with one measure of damage."""

    source: str
    damage: str = Field(default="clip_accuracy")
    rho: Number | None = None
    lower: Number | None = None
    upper: Number | None = None
    p_value: Number | None = None
    p_holm: Number | None = None
    n: int = Field(default=0, description="Concepts.")
    descriptive: bool = Field(default=True, description="Whether there are too few concepts for a conclusion.")
    note: str = ""


class Tables(_Record):
    """The tables of a case with more than one claim."""

    sources: tuple[Correlation, ...] = ()


class Volatile(_Record):
    """What may differ between two runs of the same audit."""

    seconds: Number | None = None
    worker: str | None = None
    rendered: int = 0
    rechecked: int = Field(default=0, description="Stored images that were rendered again and were the same.")
    finished: str | None = None


class CaseRecord(_Record):
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
    volatile: Volatile = Volatile()

    @property
    def name(self) -> str:
        """A short name for reports: the prompt in quotes, else the concept, else the id."""
        if self.prompt:
            return f"“{self.prompt.text}”"
        return self.concept.name if self.concept else self.case_id

    @property
    def is_waived(self) -> bool:
        """Whether its FAIL or INCONCLUSIVE is waived."""
        return self.waiver is not None and self.verdict.is_failure

    @property
    def is_failure(self) -> bool:
        """Whether it fails its test: refuted or undecided, and not waived."""
        return self.verdict.is_failure and not self.is_waived

    def with_(self, **changes: Any) -> CaseRecord:
        """A copy with other values of these fields."""
        return self.model_copy(update=changes)

    def with_claim(self, **changes: Any) -> CaseRecord:
        """A copy with other numbers in its claim."""
        assert self.claim is not None
        return self.model_copy(update={"claim": self.claim.model_copy(update=changes)})


class AttemptRecord(_Record):
    """One run of the same audit in the same folder."""

    started: str
    finished: str | None = None
    verdict: AuditVerdict | None = None


class OtherAttempt(_Record):
    """Another audit of the same weights, as the log beside the store has it."""

    audit_hash: str
    began: str = Field(description="Its first start (UTC).")
    folder: str = Field(description="The name of its run folder.")
    target: str
    policy: str = Field(description="The name of its policy.")
    policy_digest: str
    dossier_digest: str
    audit_seed: int
    drawn: str = Field(description="How its seed was drawn: option, policy or after fingerprint.")
    verdict: str = Field(default="", description="The verdicts that it came to; empty if it was never concluded.")


class ManifestWaiver(_Record):
    """A waiver of the policy, with its status after the run."""

    case: str
    reason: str
    owner: str
    expires: str
    target: str | None = None
    status: str = Field(description="One of: applied, not needed, not run, expired, of another target.")
    days_left: int = Field(default=0, description="Days from the run to the last day on which it holds.")
    case_id: str | None = None
    title: str | None = None
    verdict: Verdict | None = None


class EvidenceDigest(_Record):
    """The digest of the evidence on which the verdict was decided."""

    cases: int
    digest: str


class TargetRecord(_Record):
    """The concept that was unlearned."""

    name: str = ""
    kind: str = ""


class Manifest(_Record):
    """manifest.json: the verdict, and everything that is needed to repeat the audit. Parts without a schema are JSON objects."""

    format: int = FORMAT
    audit_hash: str = ""
    target: TargetRecord = TargetRecord()
    verdict: AuditVerdict = AuditVerdict.INCOMPLETE
    exit_code: int | None = Field(default=None, description="None until the audit is concluded.")
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    whole: bool = Field(default=False, description="Whether the whole plan was run.")
    day: str | None = Field(default=None, description="The day (UTC) that was compared with the last day of waivers.")
    waivers: tuple[ManifestWaiver, ...] = ()
    images: JsonObject = Field(
        default_factory=dict,
        description="How many images were planned, rendered, reused, and rechecked: rendered again and the same.",
    )
    policy: JsonObject = Field(
        default_factory=dict,
        description="Name, digest, alterations and text of the policy; whether the audit is release evidence.",
    )
    dossier: JsonObject = Field(default_factory=dict, description="Digest, provenance, world and origin of the dossier.")
    plan: JsonObject = Field(default_factory=dict, description="Digest and number of cases.")
    seeds: JsonObject = Field(
        default_factory=dict, description="The audit seed, where it comes from, and from what it was drawn."
    )
    trust_remote_code: bool = False
    models: JsonObject = Field(
        default_factory=dict, description="Reference, files, digests and load proof of base and candidate."
    )
    judge: JsonObject = Field(default_factory=dict, description="Reference, digest, threshold and error rates of the judge.")
    sampler: JsonObject = Field(default_factory=dict, description="Scheduler, steps, guidance, size, dtype, batch, threads.")
    candidate_sampler: JsonObject = Field(default_factory=dict, description="The candidate's own scheduler settings.")
    hardware: JsonObject = Field(default_factory=dict)
    versions: JsonObject = Field(default_factory=dict, description="Versions of Python and of the packages.")
    git: JsonObject | None = Field(default=None, description="Commit and dirty flag of the working tree.")
    command: JsonObject = Field(
        default_factory=dict, description="The command line with its folder, user, host and CI job, and the options of the audit."
    )
    interruptions: JsonObject = Field(
        default_factory=dict,
        description="Why the run is not the whole plan, and failed tests of the user; the verdict follows from it.",
    )
    attempts: tuple[AttemptRecord, ...] = ()
    earlier_attempts: tuple[OtherAttempt, ...] = Field(
        default=(), description="Other audits of the same weights that the store knew of, by their first start."
    )
    started: str | None = None
    finished: str | None = None
    seconds: Number | None = None
    evidence: EvidenceDigest | None = None


def without_volatile(record: Mapping[str, Any]) -> JsonObject:
    """A record as JSON without `volatile`: the part that is equal in every run of the same audit."""
    return {name: value for name, value in record.items() if name != "volatile"}


def json_schema(name: Literal["evidence", "manifest"]) -> JsonObject:
    """The published JSON Schema (draft 2020-12) of an evidence line or of the manifest. `$id` holds the format."""
    model = CaseRecord if name == "evidence" else Manifest
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:dmun-audit:{name}:{FORMAT}",
        **model.model_json_schema(),
    }
