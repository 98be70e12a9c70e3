"""What reports say of waivers. The day that counts is the run's, so that a report that is rebuilt later says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmun_audit.report.formatting import count, one_line
from dmun_audit.report.run import Run

SOON = 30  # days before a waiver's last day from which reports warn of it
_REST_ON_WAIVERS = frozenset({"PASS", "PARTIAL", "INCONCLUSIVE"})


def is_waived(record: Mapping[str, Any]) -> bool:
    """Whether a case's FAIL or INCONCLUSIVE is waived."""
    return isinstance(record.get("waiver"), Mapping) and bool(record["waiver"])


def waiver_words(record: Mapping[str, Any]) -> str:
    """ "FAIL, waived by the release board until 2027-01-31: accepted for this product." Empty where nothing is waived."""
    waiver = record.get("waiver")
    if not isinstance(waiver, Mapping) or not waiver:
        return ""
    owner, day, reason = (one_line(waiver.get(part) or "–") for part in ("owner", "expires", "reason"))
    return f"{one_line(record.get('verdict'))}, waived by {owner} until {day}: {reason}"


def headline(run: Run) -> str:
    """The audit's verdict; one that would be worse without waivers says so: "PASS with 1 waiver"."""
    waived = sum(map(is_waived, run.cases))
    rests = waived and run.verdict in _REST_ON_WAIVERS
    return f"{run.verdict} with {count(waived, 'waiver')}" if rests else run.verdict


def waiver_lines(run: Run) -> list[str]:
    """A sentence for every case whose verdict is waived."""
    return [f"{one_line(case.get('title') or case['case_id'])}: {waiver_words(case)}" for case in run.cases if is_waived(case)]


def idle_waivers(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for every waiver that was not needed: its case passes, or decides nothing under this policy."""
    idle = [waiver for waiver in waivers_of(manifest) if waiver.get("status") == "not needed"]
    return [f"The waiver of {_named(waiver)} was not needed: its case did not fail, or decides nothing here." for waiver in idle]


def waivers_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The waivers of the policy, each with what became of it."""
    held = manifest.get("waivers")
    return [waiver for waiver in held if isinstance(waiver, Mapping)] if isinstance(held, list) else []


def expired_waivers(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for every waiver whose last day had passed."""
    return [_expired(waiver) for waiver in waivers_of(manifest) if waiver.get("status") == "expired"]


def expiring_waivers(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for every waiver that held, but not for much longer."""
    held = [waiver for waiver in waivers_of(manifest) if waiver.get("status") in ("applied", "not needed", "not run")]
    return [_expiring(waiver) for waiver in held if _days_left(waiver) <= SOON]


def _expired(waiver: Mapping[str, Any]) -> str:
    said = f"The waiver of {_named(waiver)} expired: it held until {one_line(waiver.get('expires'))} and was not applied"
    if waiver.get("case_id") is None:
        return f"{said}. No case of this audit is called that any more."
    return f"{said}. The case came out as {waiver['verdict']}." if waiver.get("verdict") else f"{said}. The case did not run."


def _expiring(waiver: Mapping[str, Any]) -> str:
    left = _days_left(waiver)
    when = f"in {count(left, 'day')}" if left else "on the day of this run"
    return f"The waiver of {_named(waiver)} expires {when}, {one_line(waiver.get('expires'))}."


def _named(waiver: Mapping[str, Any]) -> str:
    return f"“{one_line(waiver.get('title') or waiver.get('case'))}” (owner: {one_line(waiver.get('owner'))})"


def _days_left(waiver: Mapping[str, Any]) -> int:
    left = waiver.get("days_left")
    return left if isinstance(left, int) else 0
