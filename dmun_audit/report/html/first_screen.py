"""What the page shows first: pictures, what failed or came closest, small charts, and which notices to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import claim_text, count, one_line
from dmun_audit.report.html.breakdowns import Breakdown, view_breakdowns
from dmun_audit.report.html.cases import CaseView
from dmun_audit.report.html.contact_sheet import Strip, view_contact_sheet
from dmun_audit.report.html.weakest import bound_strain, strain, weakest, weakest_first
from dmun_audit.report.scope import thin_lines
from dmun_audit.report.spot_check import read_spot_check, warnings
from dmun_audit.report.standing import attempt_sentence, release_lines, weaker_than_release
from dmun_audit.report.waivers import expired_waivers, expiring_waivers
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict


@dataclass(frozen=True)
class ShortReason:
    """One claim in the banner: its verdict as a word of a sentence, the claim, its numbers, and the id of its case."""

    word: str
    claim: str
    numbers: str
    id: str


@dataclass(frozen=True)
class FirstScreen:
    """`reasons` are the claims that decided, in a line each; empty where only the sentences of the run say why.

    `tightest` is the proven claim whose bound takes most of its limit. `ranks` gives the place of each case among all, the worst
    first. `cautions` name the notices, in a few words each. `audited` says in one line what was audited, and when.
    """

    audited: str
    release: str
    reasons: tuple[ShortReason, ...]
    tightest: ShortReason | None
    strips: tuple[Strip, ...]
    findings: tuple[CaseView, ...]
    breakdowns: tuple[Breakdown, ...]
    cautions: tuple[str, ...]
    ranks: Mapping[str, int]
    sensitive: bool


def view_first_screen(run: Run, views: Mapping[str, CaseView]) -> FirstScreen:
    """The first screen of a run. `views` holds the cases of the page by id."""
    findings = tuple(views[record.case_id] for record in weakest(run.cases) if record.case_id in views)
    return FirstScreen(
        audited=_audited(run),
        release=_release(run),
        reasons=tuple(_reasons(run)),
        tightest=_tightest(run),
        strips=tuple(view_contact_sheet(run)),
        findings=findings,
        breakdowns=tuple(view_breakdowns(run)),
        cautions=tuple(_cautions(run)),
        ranks={record.case_id: place for place, record in enumerate(weakest_first(run.cases))},
        sensitive=run.manifest.target.kind == "unsafe",
    )


def _audited(run: Run) -> str:
    """Candidate, base, policy and day."""
    models, policy = run.manifest.models, run.manifest.policy
    names = [one_line(models.get(side, {}).get("reference", "")) or "–" for side in ("candidate", "base")]
    weights = one_line(models.get("candidate", {}).get("weights_digest", ""))[:12]
    day = one_line(run.manifest.finished or "")[:10] or "not finished"
    return f"{names[0]}{f' (weights {weights})' if weights else ''}, against {names[1]}, policy {one_line(policy.get('name', '')) or '–'}, {day}"


def _release(run: Run) -> str:
    """Whether this audit supports a release, in one sentence; empty for a run that compared nothing with the policy release."""
    weaker = weaker_than_release(run.manifest)
    if run.verdict == AuditVerdict.FAIL:
        return "Do not release this model: the audit refutes it."
    if weaker is None:
        return ""
    if run.verdict != AuditVerdict.PASS:
        return "This audit does not support a release: it has no result that could."
    if weaker:
        return f"This audit does not support a release: it is weaker than the policy release in {count(len(weaker), 'way')}."
    waived = any(case.is_waived for case in run.cases)
    return f"This audit is release evidence{', but not for what is waived' if waived else ''}: its figures are at least as strict as those of the policy release."


def _reasons(run: Run) -> list[ShortReason]:
    """The claims that decided the verdict: the refuted ones, else the undecided ones, else the proven ones."""
    verdict = {AuditVerdict.FAIL: Verdict.FAIL, AuditVerdict.INCONCLUSIVE: Verdict.INCONCLUSIVE, AuditVerdict.PASS: Verdict.PASS}
    wanted = None if run.altered else verdict.get(run.verdict)
    decided = [
        case for case in run.cases if case.verdict == wanted and case.gating and not case.is_waived and case.group != "controls"
    ]
    shown = decided if wanted != Verdict.PASS else [case for case in decided if case.pooled]
    weight = bound_strain if wanted == Verdict.PASS else strain
    ordered = sorted(shown, key=lambda case: (not case.pooled, -weight(case.claim)))
    return [_short(case) for case in ordered]


def _tightest(run: Run) -> ShortReason | None:
    """Of the proven claims over whole groups, the one whose bound takes most of its limit."""
    proven = [
        case
        for case in run.cases
        if case.pooled and case.gating and case.verdict == Verdict.PASS and bound_strain(case.claim) > 0
    ]
    return _short(max(proven, key=lambda case: bound_strain(case.claim))) if proven and not run.altered else None


def _short(case: CaseRecord) -> ShortReason:
    word = {Verdict.FAIL: "Refuted", Verdict.INCONCLUSIVE: "Undecided"}.get(case.verdict, "Proven")
    if case.verdict == Verdict.PASS and case.claim is not None and case.claim.harm_only:
        word = "Not refuted"
    return ShortReason(word, one_line(case.title or case.case_id), claim_text(case.claim), case.case_id)


def _cautions(run: Run) -> list[str]:
    notes = len(run.warnings) + len(expiring_waivers(run.manifest)) + len(warnings(read_spot_check(run)))
    expired = len(expired_waivers(run.manifest))
    named = [
        ("in what this audit is weaker than the policy release", bool(weaker_than_release(run.manifest))),
        ("release evidence, but not for what is waived", not weaker_than_release(run.manifest) and len(release_lines(run)) > 1),
        ("the dossier is thin", bool(thin_lines(run))),
        ("other attempts on these weights", bool(attempt_sentence(run.manifest))),
        ("a chosen seed", run.manifest.seeds.get("drawn") == "option"),
        (count(expired, "expired waiver"), bool(expired)),
        (count(notes, "note"), bool(notes)),
    ]
    return [words for words, holds in named if holds]
