"""The records of a campaign: one row for each audit, from its run folder, and the verdict over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import JsonObject, Number, Record
from dmun_audit.report.formatting import one_line
from dmun_audit.report.standing import release_lines
from dmun_audit.report.waivers import headline
from dmun_audit.verdict.vocabulary import AuditVerdict

FORMAT = 1
GROUPS = ("erasure", "adversarial", "retention")
"""The groups whose pooled claims are columns of the table."""

NOT_SELECTED = "none of its cases was selected"


class Figures(Record):
    """The numbers of a group's pooled claim."""

    estimate: Number | None = Field(default=None, description="The estimate: a rate, or the accuracy lost.")
    upper: Number | None = Field(default=None, description="Its upper bound at the policy's error rate.")
    threshold: Number | None = Field(default=None, description="The limit of the claim.")


class AuditRow(Record):
    """One audit of a campaign."""

    model: str = Field(description="The name of the model in the table.")
    reference: str = Field(description="The reference of the model.")
    target: str
    verdict: AuditVerdict
    headline: str = Field(description="The verdict in words; with waivers, it names their number.")
    state: Literal["concluded", "not selected", "not audited"] = Field(
        default="concluded", description="Whether the audit has a verdict of its own. The others count as PARTIAL and INCOMPLETE."
    )
    reasons: tuple[str, ...] = ()
    claims: dict[str, Figures] = Field(default_factory=dict, description="The pooled claims by group.")
    standing: tuple[str, ...] = Field(default=(), description="Whether the audit is release evidence, in sentences.")
    warnings: tuple[str, ...] = Field(default=(), description="What the audit warns of, in sentences.")
    rendered: int = Field(default=0, description="Images that were drawn for it.")
    reused: int = Field(default=0, description="Images that the store had already.")
    seconds: Number | None = None
    audit_hash: str = ""
    cases: int = 0
    evidence_digest: str = Field(default="", description="SHA-256 of its evidence, as its manifest has it.")
    folder: str = Field(default="", description="Its run folder, relative to the folder of the campaign where that is possible.")


class CampaignRecord(Record):
    """campaign.json: the table of a campaign."""

    format: int = FORMAT
    id: str = Field(description="SHA-256 of what was asked: models, targets, dossiers, base, policy and judges.")
    base: str
    policy: str
    verdict: AuditVerdict = Field(description="The first verdict in the order of precedence that any audit has.")
    exit_code: int
    audits: tuple[AuditRow, ...] = Field(description="By model, then by target.")

    @property
    def whole(self) -> bool:
        """Whether every audit ran its whole plan, or could not begin."""
        return all(row.state != "not selected" and row.verdict != AuditVerdict.PARTIAL for row in self.audits)


@dataclass(frozen=True)
class AuditOfCampaign:
    """One audit and how it ended: with a run, or with the reason why its model could not be loaded, or not at all."""

    model: str
    reference: str
    target: str
    run: Run | None = None
    error: str = ""

    @property
    def verdict(self) -> AuditVerdict:
        """Its verdict. An audit that was not selected counts as PARTIAL; one whose model could not be loaded, as INCOMPLETE."""
        if self.error:
            return AuditVerdict.INCOMPLETE
        return self.run.verdict if self.run else AuditVerdict.PARTIAL

    def row(self) -> AuditRow:
        """Its row in the table."""
        named: JsonObject = {"model": self.model, "reference": self.reference, "target": self.target, "verdict": self.verdict}
        if self.error:
            return AuditRow(**named, headline=str(self.verdict), state="not audited", reasons=(self.error,))
        if self.run is None:
            return AuditRow(**named, headline=str(self.verdict), state="not selected", reasons=(NOT_SELECTED,))
        manifest = self.run.manifest
        return AuditRow(
            **named,
            headline=headline(self.run),
            reasons=self.run.reasons,
            claims=_claims(self.run),
            standing=tuple(release_lines(self.run)),
            warnings=tuple(map(one_line, manifest.warnings)),
            rendered=manifest.images.get("rendered", 0),
            reused=manifest.images.get("reused", 0),
            seconds=manifest.seconds,
            audit_hash=manifest.audit_hash,
            cases=len(self.run.cases),
            evidence_digest=self.run.digest,
            folder=str(self.run.path),
        )


def _claims(run: Run) -> dict[str, Figures]:
    pooled = {case.group: case.claim for case in reversed(run.cases) if case.pooled and case.claim and case.group in GROUPS}
    return {
        group: Figures(estimate=claim.estimate, upper=claim.upper, threshold=claim.threshold)
        for group in GROUPS
        if (claim := pooled.get(group))
    }


def overall_verdict(verdicts: Sequence[AuditVerdict]) -> AuditVerdict:
    """The verdict over several audits: the first in the order of precedence."""
    return next(verdict for verdict in AuditVerdict if verdict in set(verdicts))


def campaign_record(identity: str, base: str, policy: str, audits: Sequence[AuditOfCampaign]) -> CampaignRecord:
    """The record of a campaign. Folders are as the runs have them."""
    verdict = overall_verdict([each.verdict for each in audits])
    rows = tuple(each.row() for each in audits)
    return CampaignRecord(id=identity, base=base, policy=policy, verdict=verdict, exit_code=verdict.exit_code, audits=rows)


def campaign_schema() -> JsonObject:
    """The published JSON Schema (draft 2020-12) of campaign.json. `$id` holds the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:dmun-audit:campaign:{FORMAT}",
        **CampaignRecord.model_json_schema(),
    }
