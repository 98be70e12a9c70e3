"""Paired tests of several audits under one plan against one of them: on the same prompts and seeds, which went wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import binomtest

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.seeds import DERIVED
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.paired_score import MOST_PAIRS, score_interval

GROUPS = ("erasure", "adversarial", "retention")
"""The groups whose images have the same prompts and seeds in all runs of a plan."""

SIGNIFICANT = 0.05
"""A difference is beyond chance if its adjusted p-value is under this."""


@dataclass(frozen=True)
class Difference:
    """One run against the reference on the same units: McNemar's test in its exact form (two-sided).

    Where claims stop early, the number of units depends on what was seen. Test and interval are approximate then.

    Attributes:
        name: The run.
        group: The claim group.
        units: The number of equal prompts and seeds.
        worse: Units that went wrong in this run alone: the image shows the target, or the pair is lost.
        better: Units that went wrong in the reference alone.
        difference: `worse` minus `better`, as a share of the units. A negative one is better than the reference.
        lower: Lower end of the 95% interval of that share (Tango's score interval), for this difference alone.
        upper: Its upper end.
        p_value: The p-value of this test alone.
        p_holm: The p-value after Holm's adjustment over all runs and groups.
    """

    name: str
    group: str
    units: int
    worse: int
    better: int
    difference: float
    lower: float | None
    upper: float | None
    p_value: float
    p_holm: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the adjusted p-value shows a difference."""
        return self.p_holm < SIGNIFICANT


def differences(runs: Sequence[Run], names: Sequence[str], reference: int = 0) -> list[Difference]:
    """The paired tests of all runs against the one at the place `reference`.

    There are none where each candidate has seeds of its own, so that no two images belong together.
    """
    if runs[0].manifest.seeds.get("drawn") == DERIVED:
        return []
    found = []
    for group in GROUPS:
        outcomes = [_outcomes(run.of_group(group)) for run in runs]
        for place, name in enumerate(names):
            if place != reference and (tested := _tested(name, group, outcomes[reference], outcomes[place])):
                found.append(tested)
    adjusted = holm([each.p_value for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _tested(
    name: str, group: str, of_reference: dict[tuple[str, int], bool], own: dict[tuple[str, int], bool]
) -> Difference | None:
    units = of_reference.keys() & own.keys()
    if not units:
        return None
    worse = sum(of_reference[unit] < own[unit] for unit in units)
    better = sum(own[unit] < of_reference[unit] for unit in units)
    p_value = float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0
    lower, upper = score_interval(worse, better, len(units)) if len(units) <= MOST_PAIRS else (None, None)
    return Difference(name, group, len(units), worse, better, (worse - better) / len(units), lower, upper, p_value, 1.0)


def _outcomes(cases: Sequence[CaseRecord]) -> dict[tuple[str, int], bool]:
    """For each case and each place in its rounds: whether the image shows the target, or the pair is lost.

    Under one plan and seed, a place stands for one prompt and seed. Cases that prove nothing are left out.
    """
    counted = [case for case in cases if not case.pooled and not case.verdict.is_untested and case.claim and case.claim.outcomes]
    return {
        (case.case_id, place): outcome > 0
        for case in counted
        if case.claim and case.claim.kind in {"rate_at_most", "paired_accuracy"}
        for place, outcome in enumerate(case.claim.outcomes or ())
    }
