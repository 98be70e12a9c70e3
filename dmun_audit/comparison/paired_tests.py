"""Paired tests of several audits under one plan against the first: on the same prompts and seeds, which went wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.seeds import DERIVED
from dmun_audit.verdict.holm import holm


@dataclass(frozen=True)
class Difference:
    """One run against the first on the same units: McNemar's test in its exact form (two-sided).

    `worse` units went wrong in this run alone, `better` units in the first alone. `p_holm` is adjusted over all runs and groups. Where
    claims stop early, the number of units depends on what was seen. The test is approximate then.
    """

    name: str
    group: str
    units: int
    worse: int
    better: int
    p_value: float
    p_holm: float


def differences(runs: Sequence[Run], names: Sequence[str]) -> list[Difference]:
    """The paired tests; none where each candidate has seeds of its own, so that no two images belong together."""
    if runs[0].manifest.seeds.get("drawn") == DERIVED:
        return []
    found = []
    for group in ("erasure", "adversarial", "retention"):
        first = _outcomes(runs[0].of_group(group))
        for run, name in zip(runs[1:], names[1:], strict=True):
            other = _outcomes(run.of_group(group))
            units = first.keys() & other.keys()
            worse, better = (sum(one[unit] < two[unit] for unit in units) for one, two in ((first, other), (other, first)))
            if units:
                p_value = float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0
                found.append(Difference(name, group, len(units), worse, better, p_value, 1.0))
    adjusted = holm([each.p_value for each in found])
    return [Difference(**{**vars(each), "p_holm": p}) for each, p in zip(found, adjusted, strict=True)]


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
