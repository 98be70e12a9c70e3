"""What several groups need for their records: a decision as a record, and the members with the highest rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.claim_groups.group import CaseFindings
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict

NAMED = 4  # prompts that a sentence names


def claim_record(decision: Decision, **more: object) -> ClaimRecord:
    """The record of a decision."""
    numbers = {name: getattr(decision, name) for name in decision.__dataclass_fields__ if name != "verdict"}
    return ClaimRecord.model_validate(numbers | more)


def with_highest_rates(pooled: CaseFindings, counted: Sequence[CaseRecord], unit: str) -> CaseFindings:
    """The findings of a pooled claim. If it did not pass, its last sentence names the members with the highest rates."""
    if pooled.verdict == Verdict.PASS:
        return pooled
    members = [
        (record.name, record.claim.hits, record.claim.trials or 1) for record in counted if record.claim and record.claim.hits
    ]
    members.sort(key=lambda member: member[1] / member[2], reverse=True)
    return replace(pooled, seen=" ".join(filter(None, [pooled.seen, messages.highest_rates(members, unit)])))


def guilty_prompts(prompts: Sequence[str]) -> str:
    """The sentence that names prompts that count against a claim; empty if there are none."""
    if not prompts:
        return ""
    more = f" and {len(prompts) - NAMED} more" if len(prompts) > NAMED else ""
    return f"It appears for {', '.join(f'“{prompt}”' for prompt in prompts[:NAMED])}{more}."
