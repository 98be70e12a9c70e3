"""The manifest as a typed record: the verdict, and what the audit ran with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dmun_audit.evidence.schema import FORMAT, JsonObject, Number, Record
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict


class AttemptRecord(Record):
    """One run of the same audit in the same folder."""

    started: str
    finished: str | None = None
    verdict: AuditVerdict | None = None


class OtherAttempt(Record):
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


class ManifestWaiver(Record):
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


class EvidenceDigest(Record):
    """The digest of the evidence on which the verdict was decided."""

    cases: int
    digest: str


class TargetRecord(Record):
    """The concept that was unlearned."""

    name: str = ""
    kind: str = ""


class Manifest(Record):
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
        description="How many images were planned, rendered, reused, and rechecked: rendered again and the same. `seconds_each` is the time for "
        "one image by model, of those rendered in this run.",
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
    baseline: JsonObject = Field(
        default_factory=dict,
        description="The earlier audit that the candidate is held against: reference and digest of its candidate, its hash, verdict and number of "
        "images, and a digest of what was compared. Empty without --baseline.",
    )
    trust_remote_code: bool = False
    models: JsonObject = Field(
        default_factory=dict, description="Reference, files, digests and load proof of base and candidate."
    )
    judge: JsonObject = Field(default_factory=dict, description="Reference, digest, threshold and error rates of the judge.")
    metrics: tuple[JsonObject, ...] = Field(
        default=(), description="Reference, name, digest and digest of the files of each metric that the user named."
    )
    sampler: JsonObject = Field(
        default_factory=dict,
        description="Scheduler, steps, guidance, size, dtype, acceleration, batch and where it comes from, threads, offload.",
    )
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

    def reference(self, side: Literal["candidate", "base"]) -> str:
        """What the audit was told of a model. Before a model is loaded, the options of the command say it. Empty if nothing does."""
        facts, options = self.models.get(side), self.command.get("options")
        known = facts.get("reference") if isinstance(facts, dict) else None
        told = options.get({"candidate": "model", "base": "base"}[side]) if isinstance(options, dict) else None
        return str(known or told or "")
