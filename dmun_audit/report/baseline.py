"""What an audit with --baseline says in one place: whether this candidate is worse than the earlier one, and on which prompts."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.claim_groups.baseline import compared_prompts
from dmun_audit.evidence.messages import enumerated
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.baseline import BASELINE
from dmun_audit.report.formatting import count, number, one_line
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

WORDS = {
    Verdict.FAIL: "worse on",
    Verdict.INCONCLUSIVE: "perhaps worse, on too few pairs to tell, on",
    Verdict.PASS: "not worse beyond chance on",
}
"""What each verdict of a comparison says of the candidate."""


def baseline_lines(run: Run) -> list[str]:
    """Whether the candidate is worse than the baseline, and on which prompts. Then why that says little, if it does.

    Empty for an audit without a baseline, and for a run whose files contradict each other. Comparisons that did not run are not named.
    """
    cases = [] if run.altered else [case for case in run.of_group(BASELINE) if case.claim is not None]
    by_verdict = {verdict: [case for case in cases if case.verdict == verdict] for verdict in WORDS}
    found = [f"{words} {_prompts(by_verdict[verdict])}" for verdict, words in WORDS.items() if by_verdict[verdict]]
    if not found:
        return []
    return [f"Against the baseline{_name(run)}, this candidate is {', and '.join(found)}.", *_doubts(run)]


def _prompts(cases: Sequence[CaseRecord]) -> str:
    """The compared prompts, each with its pairs that went wrong on this side alone (worse) and on the other alone (better)."""
    return enumerated([f"{one_line(compared_prompts(case))} ({_counts(case)})" for case in cases])


def _counts(case: CaseRecord) -> str:
    claim = case.claim
    assert claim is not None
    return f"{number(claim.hits)} worse and {number(claim.gains)} better of {count(claim.trials or 0, 'pair')}"


def _name(run: Run) -> str:
    facts = run.manifest.baseline
    return f" {one_line(facts.get('reference', ''))} (run {one_line(facts.get('audit_hash', ''))[:8]})" if facts else ""


def _doubts(run: Run) -> list[str]:
    facts, ours = run.manifest.baseline, run.manifest.models.get("candidate", {}).get("tensors_digest")
    if facts.get("tensors_digest") and facts["tensors_digest"] == ours:
        return ["The baseline has the same weights, so this comparison can find nothing."]
    verdict = one_line(facts.get("verdict", ""))
    if verdict and verdict != AuditVerdict.PASS:
        return [f"The audit of the baseline ended with {verdict}: being no worse than it proves little."]
    return []
