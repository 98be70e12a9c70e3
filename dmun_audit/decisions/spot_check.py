"""What a spot-check that the policy requires changes in the conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dmun_audit.decisions.conclude import Conclusion
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.plan import Plan
from dmun_audit.spot_check.requirement import open_claims
from dmun_audit.verdict.vocabulary import AuditVerdict


def with_spot_check(
    conclusion: Conclusion, plan: Plan, folder: Path, digest: str, records: Mapping[str, CaseRecord]
) -> Conclusion:
    """The conclusion: INCONCLUSIVE in place of PASS if the policy requires a spot-check that leaves a claim open.

    `folder` holds the labels, and `digest` is the digest of the evidence that they must belong to.
    """
    if plan.policy.controls.spot_check != "required" or conclusion.verdict != AuditVerdict.PASS:
        return conclusion
    left_open = open_claims(folder, digest, list(records.values()))
    return Conclusion(AuditVerdict.INCONCLUSIVE, tuple(left_open)) if left_open else conclusion
