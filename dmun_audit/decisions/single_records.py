"""Where a single record contradicts itself: its images, its outcomes, its counts and its verdict."""

from __future__ import annotations

from collections.abc import Mapping

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.plan import Plan


def contradictions_of_cases(plan: Plan, records: Mapping[str, CaseRecord]) -> list[str]:
    """A sentence for each record whose parts contradict each other. `records` are the single records by case id."""
    return []
