"""What failed, and what came closest to it: the order in which a reader should look at cases."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.report.formatting import VERDICTS, deciding_bound, report_verdict

CLOSEST = 8
"""Cases that are listed besides those that failed."""

_SAYS_NOTHING = frozenset({"VACUOUS", "NOT APPLICABLE", "REPORTED"})


def weakest_first(records: Sequence[CaseRecord]) -> list[CaseRecord]:
    """All records in order: failures, waived failures, the others. Failures of one kind go by verdict, and all by `strain`."""
    return sorted(records, key=_weight)


def weakest(records: Sequence[CaseRecord]) -> list[CaseRecord]:
    """Every case that failed, and the few others whose estimates take most of their limits."""
    ordered = weakest_first(records)
    failed = [record for record in ordered if record.verdict.is_failure]
    close = [record for record in ordered if not record.verdict.is_failure and not record.pooled and strain(record.claim) > 0]
    return [*failed, *[record for record in close if report_verdict(record) not in _SAYS_NOTHING][:CLOSEST]]


def strain(claim: ClaimRecord | None) -> float:
    """The share of the limit that the estimate takes: 0 for nothing of it, 1 for all; 0 for a claim without a limit."""
    if claim is None or claim.kind == "observation" or claim.estimate is None or claim.threshold is None:
        return 0.0
    if deciding_bound(claim)[0] == "lower":
        return max(0.0, (1 - claim.estimate) / (1 - claim.threshold)) if claim.threshold < 1 else 0.0
    return max(0.0, claim.estimate / claim.threshold) if claim.threshold > 0 else 0.0


def bound_strain(claim: ClaimRecord | None) -> float:
    """The share of the limit that the deciding bound takes; 0 for a claim without a bound or a limit."""
    if claim is None or claim.kind == "observation" or claim.threshold is None:
        return 0.0
    side, _, _ = deciding_bound(claim)
    bound = claim.lower if side == "lower" else claim.upper
    if bound is None:
        return 0.0
    if side == "lower":
        return max(0.0, (1 - bound) / (1 - claim.threshold)) if claim.threshold < 1 else 0.0
    return max(0.0, bound / claim.threshold) if claim.threshold > 0 else 0.0


def _weight(record: CaseRecord) -> tuple[bool, bool, int, float, bool]:
    failed = record.verdict.is_failure
    place = VERDICTS.index(report_verdict(record)) if failed else len(VERDICTS)
    return not failed, record.is_waived, place, -strain(record.claim), not record.pooled
