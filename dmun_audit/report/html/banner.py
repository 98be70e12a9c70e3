"""The banner of the page: what was audited, what the verdict means, whether it supports a release, and which claims decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.registry import claim_groups, group_rank
from dmun_audit.evidence.messages import enumerated
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.formatting import claim_text, count, one_line
from dmun_audit.report.html.weakest import bound_strain, strain
from dmun_audit.report.standing import weaker_than_release
from dmun_audit.verdict.vocabulary import CONTROLS, AuditVerdict, Verdict

MEANINGS = {
    AuditVerdict.PASS: "Every gating claim is proven within the limits of the policy, and all controls passed.",
    AuditVerdict.INCONCLUSIVE: "No claim is refuted, but at least one gating claim is not proven. This is not a pass.",
    AuditVerdict.INCOMPLETE: "This audit has no valid result: not every case has one. This is not a pass.",
    AuditVerdict.PARTIAL: "Only part of the plan ran. No claim in it is refuted, but this is not a pass.",
}
"""What each verdict but FAIL means."""

SHOWN_FOR = "shows the target for "
"""What the faults of several groups begin with. The banner says it once."""

CONTROL_FAILED = "This audit has no valid result: a control failed. This is not a pass."

NO_RELEASE = {
    AuditVerdict.INCONCLUSIVE: "not every claim is proven",
    AuditVerdict.INCOMPLETE: "it has no valid result",
    AuditVerdict.PARTIAL: "only part of the plan ran",
}
"""Why an audit that is neither PASS nor FAIL supports no release."""

USER_TESTS = "A test of yours failed. No claim of the audit is refuted."

REFUTED_NONE = ("No claim is refuted", "No claim in it is refuted", "No claim of the audit is refuted")
REFUTED_WAIVED = "No claim that counts is refuted (waived ones are listed below)"
"""What to say instead where a refuted claim is waived."""


@dataclass(frozen=True)
class ShortReason:
    """One claim in the banner: its verdict as a word of a sentence, the claim, its numbers, and the id of its case."""

    word: str
    claim: str
    numbers: str
    id: str


@dataclass(frozen=True)
class Banner:
    """What the banner says.

    Attributes:
        audited: What was audited, and when, in one line.
        meaning: What the verdict means.
        release: Whether the audit supports a release.
        baseline: Whether the candidate is worse than an earlier one; empty without a baseline.
        reasons: The claims that decided; empty where only the sentences of the run say why.
        advice: What to do about the first of them.
        tightest: The proven claim whose bound takes most of its limit.
        not_refuted: Where the verdict is FAIL, the other claims over whole groups: a word, and the claims that it holds for.
    """

    audited: str
    meaning: str
    release: str
    baseline: tuple[str, ...]
    reasons: tuple[ShortReason, ...]
    advice: str
    tightest: ShortReason | None
    not_refuted: tuple[tuple[str, tuple[ShortReason, ...]], ...]


def view_banner(run: Run) -> Banner:
    """The banner of a run."""
    proven, decided = [] if run.altered else _proven(run), _decided(run)
    return Banner(
        audited=_audited(run),
        meaning=_meaning(run),
        release=_release(run),
        baseline=tuple(baseline_lines(run)),
        reasons=tuple(_reasons(run, decided)),
        advice=one_line(decided[0].remedy) if decided else "",
        tightest=_short(max(proven, key=lambda case: bound_strain(case.claim))) if proven else None,
        not_refuted=tuple(_not_refuted(run, proven)) if run.verdict == AuditVerdict.FAIL and not run.altered else (),
    )


def _meaning(run: Run) -> str:
    """What the verdict means."""
    meaning = _meaning_of_verdict(run)
    if any(case.is_waived and case.verdict == Verdict.FAIL for case in run.cases):
        for words in REFUTED_NONE:
            meaning = meaning.replace(words, REFUTED_WAIVED)
    return meaning


def _meaning_of_verdict(run: Run) -> str:
    if run.altered:
        return "Files of this run contradict the verdict in its manifest, so it has no valid result. This is not a pass."
    if not run.concluded:
        return "This run did not finish, so it has no verdict yet. This is not a pass."
    if run.verdict == AuditVerdict.FAIL:
        refuted = _refuted(run)
        if not refuted:
            return USER_TESTS
        number = "One claim is" if len(refuted) == 1 else f"{len(refuted)} claims are"
        return f"{number} refuted: the candidate {_faults(refuted)}."
    meaning = MEANINGS[run.verdict]
    if run.verdict == AuditVerdict.INCOMPLETE and any(case.verdict.is_failure for case in run.of_group(CONTROLS)):
        return CONTROL_FAILED
    if run.verdict == AuditVerdict.PASS and any(case.is_waived for case in run.cases):
        meaning = (
            meaning.replace("Every gating claim", "Every gating claim that is not waived") + " The waivers are listed below."
        )
    harm_only = [case.group for case in run.cases if case.pooled and case.claim and case.claim.harm_only]
    if run.verdict == AuditVerdict.PASS and harm_only:
        groups = " and ".join(dict.fromkeys(harm_only))
        meaning = meaning.replace("proven within", "within")
        meaning += f" The claims on {groups} pass unless harm is proven, so this is not a proof of safety."
    return meaning


def _refuted(run: Run) -> list[CaseRecord]:
    return [case for case in run.cases if case.verdict == Verdict.FAIL and not case.is_waived]


def _faults(refuted: Sequence[CaseRecord]) -> str:
    """What refuted claims say of the candidate, in the order of an audit."""
    of_group = {group.name: group.fault for group in claim_groups()}
    ordered = sorted(refuted, key=lambda case: group_rank(case.group))
    faults = list(dict.fromkeys(of_group.get(case.group, ClaimGroup.fault) for case in ordered))
    prompts = [fault.removeprefix(SHOWN_FOR) for fault in faults if fault.startswith(SHOWN_FOR)]
    others = [fault for fault in faults if not fault.startswith(SHOWN_FOR)]
    return "; ".join([*([SHOWN_FOR + enumerated(prompts)] if prompts else []), *others])


def _audited(run: Run) -> str:
    """Candidate, base, policy and day."""
    models, policy = run.manifest.models, run.manifest.policy
    names = [one_line(run.manifest.reference("candidate")) or "–", one_line(run.manifest.reference("base")) or "–"]
    weights = one_line(models.get("candidate", {}).get("weights_digest", ""))[:12]
    day = one_line(run.manifest.finished or "")[:10] or "not finished"
    return f"{names[0]}{f' (weights {weights})' if weights else ''}, against {names[1]}, policy {one_line(policy.get('name', '')) or '–'}, {day}"


def _release(run: Run) -> str:
    """Whether this audit supports a release, in one sentence; empty for a run that compared nothing with the policy release."""
    weaker = weaker_than_release(run.manifest)
    if run.verdict == AuditVerdict.FAIL:
        refuted = "Do not release this model."
        return refuted if _refuted(run) else "This audit does not support a release: one of your tests failed."
    if weaker is None:
        return ""
    if run.verdict != AuditVerdict.PASS:
        return f"This audit does not support a release: {NO_RELEASE[run.verdict]}."
    if weaker:
        policy = one_line(run.manifest.policy.get("name", ""))
        figures = count(len(weaker), "figure")
        return f"This audit does not support a release: the policy “{policy}” is weaker than “release” in {figures}."
    if any(case.is_waived for case in run.cases):
        return "This audit is release evidence, but not for what is waived."
    return "This audit is release evidence. Its figures are at least as strict as those of the policy release."


def _decided(run: Run) -> list[CaseRecord]:
    """The claims that decided the verdict, the clearest first: the refuted ones, else the undecided ones, else the proven ones."""
    verdict = {AuditVerdict.FAIL: Verdict.FAIL, AuditVerdict.INCONCLUSIVE: Verdict.INCONCLUSIVE, AuditVerdict.PASS: Verdict.PASS}
    wanted = None if run.altered else verdict.get(run.verdict)
    decided = [
        case for case in run.cases if case.verdict == wanted and case.gating and not case.is_waived and case.group != CONTROLS
    ]
    shown = decided if wanted != Verdict.PASS else [case for case in decided if case.pooled]
    if wanted == Verdict.PASS:
        return sorted(shown, key=lambda case: -bound_strain(case.claim))
    return sorted(shown, key=lambda case: (not case.pooled, group_rank(case.group), -strain(case.claim)))


def _reasons(run: Run, decided: Sequence[CaseRecord]) -> list[ShortReason]:
    """The claims that decided, in short. Of proven ones the first says that it is closest to its limit."""
    reasons = [_short(case) for case in decided]
    if run.verdict == AuditVerdict.PASS and reasons[1:] and bound_strain(decided[0].claim) > 0:
        reasons[0] = replace(reasons[0], word=f"{reasons[0].word}, closest to its limit")
    return reasons


def _proven(run: Run) -> list[CaseRecord]:
    """The proven claims over whole groups that count. A claim that passes because no harm is proven is not among them."""
    counted = [case for case in run.cases if case.pooled and case.gating and case.verdict == Verdict.PASS and not case.is_waived]
    return [case for case in counted if bound_strain(case.claim) > 0 and not (case.claim and case.claim.harm_only)]


def _not_refuted(run: Run, proven: Sequence[CaseRecord]) -> Iterator[tuple[str, tuple[ShortReason, ...]]]:
    """The claims over whole groups that are not refuted, by what they are instead."""
    counted = [case for case in run.cases if case.pooled and case.gating and not case.is_waived and case not in proven]
    unproven = [case for case in counted if case.verdict in (Verdict.INCONCLUSIVE, Verdict.PASS)]
    for word, cases in (("Proven all the same", proven), ("Neither proven nor refuted", unproven)):
        if cases:
            yield word, tuple(map(_short, cases))


def _short(case: CaseRecord) -> ShortReason:
    word = {Verdict.FAIL: "Refuted", Verdict.INCONCLUSIVE: "Undecided"}.get(case.verdict, "Proven")
    if case.verdict == Verdict.PASS and case.claim is not None and case.claim.harm_only:
        word = "Not refuted"
    numbers, claim = claim_text(case.claim), case.claim
    if case.verdict != Verdict.PASS and claim is not None and claim.hits is not None:
        counts = f"{claim.hits} of {claim.trials}"
        numbers = numbers.replace(f"{counts},", f"{counts} against it,", 1)  # kinds with units of their own say it already
    return ShortReason(word, f"“{one_line(case.title or case.case_id)}”", numbers, case.case_id)
