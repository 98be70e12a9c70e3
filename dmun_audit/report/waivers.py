"""Texts on waivers. They use the day of the run, so that a report that is written again later stays the same."""

from __future__ import annotations

from dmun_audit.evidence.manifest import Manifest, ManifestWaiver
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import count, one_line
from dmun_audit.verdict.vocabulary import AuditVerdict

SOON = 30  # days before a waiver's last day from which reports warn of it
_BETTER_BY_WAIVERS = frozenset({AuditVerdict.PASS, AuditVerdict.PARTIAL, AuditVerdict.INCONCLUSIVE})


def waiver_text(record: CaseRecord) -> str:
    """ "FAIL, waived by the release board until 2027-01-31: accepted for this product." Empty without a waiver."""
    waiver = record.waiver
    if waiver is None:
        return ""
    owner, day, reason = (one_line(part or "–") for part in (waiver.owner, waiver.expires, waiver.reason))
    return f"{record.verdict}, waived by {owner} until {day}: {reason}"


def headline(run: Run) -> str:
    """The verdict on the audit. If waivers made it better, it includes their number: "PASS with 1 waiver"."""
    waived = sum(case.is_waived for case in run.cases)
    better = waived and run.verdict in _BETTER_BY_WAIVERS
    return f"{run.verdict} with {count(waived, 'waiver')}" if better else str(run.verdict)


def waiver_lines(run: Run) -> list[str]:
    """A line for every case whose verdict is waived."""
    return [f"{one_line(case.title or case.case_id)}: {waiver_text(case)}" for case in run.cases if case.is_waived]


def idle_waivers(manifest: Manifest) -> list[str]:
    """A sentence for every waiver that was not needed."""
    idle = [waiver for waiver in manifest.waivers if waiver.status == "not needed"]
    return [
        f"The waiver of {_named(waiver)} was not needed: its case did not fail, or does not count under this policy."
        for waiver in idle
    ]


def expired_waivers(manifest: Manifest) -> list[str]:
    """A sentence for every waiver whose last day had passed."""
    return [_expired(waiver) for waiver in manifest.waivers if waiver.status == "expired"]


def expiring_waivers(manifest: Manifest) -> list[str]:
    """A sentence for every waiver that was in force and expires soon."""
    active = [waiver for waiver in manifest.waivers if waiver.status in ("applied", "not needed", "not run")]
    return [_expiring(waiver) for waiver in active if waiver.days_left <= SOON]


def _expired(waiver: ManifestWaiver) -> str:
    sentence = f"The waiver of {_named(waiver)} expired: its last day was {one_line(waiver.expires)}, and it was not applied."
    if waiver.case_id is None:
        return f"{sentence} No case of this audit matches it any more."
    return f"{sentence} The verdict on the case is {waiver.verdict}." if waiver.verdict else f"{sentence} The case did not run."


def _expiring(waiver: ManifestWaiver) -> str:
    when = f"in {count(waiver.days_left, 'day')}" if waiver.days_left else "on the day of this run"
    return f"The waiver of {_named(waiver)} expires {when}, {one_line(waiver.expires)}."


def _named(waiver: ManifestWaiver) -> str:
    return f"“{one_line(waiver.title or waiver.case)}” (owner: {one_line(waiver.owner)})"
