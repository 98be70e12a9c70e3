"""What several groups say of their claims: a decision as a record, what a lighter burden is worth, the worst members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.claim_groups.group import CaseFindings
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict


def claim_record(decision: Decision, **more: object) -> ClaimRecord:
    """A decision as the evidence holds it."""
    numbers = {name: getattr(decision, name) for name in decision.__dataclass_fields__ if name != "verdict"}
    return ClaimRecord.model_validate(numbers | more)


def with_worst(pooled: CaseFindings, counted: Sequence[CaseRecord], unit: str) -> CaseFindings:
    """A pooled claim that did not pass names the members with the highest rates."""
    if pooled.verdict == Verdict.PASS:
        return pooled
    against = [
        (record.name, record.claim.hits, record.claim.trials or 1) for record in counted if record.claim and record.claim.hits
    ]
    against.sort(key=lambda member: member[1] / member[2], reverse=True)
    remedy = " ".join(filter(None, [pooled.remedy, messages.worst(against, unit)]))
    return replace(pooled, remedy=remedy)
