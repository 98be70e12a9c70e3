"""The words of a verdict: what a case, a claim and an audit can come to. Needs the standard library alone."""

from __future__ import annotations

from enum import StrEnum

SCORE_CLIP = 0.2
"""Differences of CLIP scores are clipped to ± this before a claim on their mean."""


class Verdict(StrEnum):
    """The verdict on one case or claim.

    NO HARM PROVEN is the verdict on a case whose estimate is over its limit although no harm is proven. It fails no test.
    NOT APPLICABLE is the verdict on a case that cannot be tried, such as a probe of weights where only images are known.
    """

    PASS = "PASS"
    NO_HARM_PROVEN = "NO HARM PROVEN"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    VACUOUS = "VACUOUS"
    NOT_APPLICABLE = "NOT APPLICABLE"

    @property
    def is_failure(self) -> bool:
        """Whether a test with this verdict fails: the claim is refuted or undecided."""
        return self in FAILURES

    @property
    def is_untested(self) -> bool:
        """Whether the case says nothing about the candidate, so that its test is skipped."""
        return self in {Verdict.VACUOUS, Verdict.NOT_APPLICABLE}


FAILURES = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE})
"""The verdicts that fail a test, and that a waiver may cover."""


class AuditVerdict(StrEnum):
    """The verdict on a whole audit. The order is the order of precedence over several targets."""

    INCOMPLETE = "INCOMPLETE"
    FAIL = "FAIL"
    PARTIAL = "PARTIAL"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"

    @property
    def exit_code(self) -> int:
        """The exit code of `pytest audits/`."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    AuditVerdict.PASS: 0,
    AuditVerdict.FAIL: 1,
    AuditVerdict.INCOMPLETE: 10,
    AuditVerdict.PARTIAL: 11,
    AuditVerdict.INCONCLUSIVE: 12,
}


class Burden(StrEnum):
    """What a claim must show to pass.

    `PROVE_SAFE`: the limit must be proven; an undecided claim is no pass. `PROVE_HARM`: the claim passes unless harm is
    proven. `NONE`: a single case is reported and decides nothing.
    """

    NONE = "none"
    PROVE_HARM = "prove harm"
    PROVE_SAFE = "prove safe"


CONTROLS = "controls"
"""The group of the controls: they count for every other group, and cannot be waived."""


class Stopping(StrEnum):
    """Whether a claim is decided once on all planned images, or as soon as an anytime-valid rule decides it."""

    FIXED = "fixed"
    EARLY = "early"


class ClaimKind(StrEnum):
    """What a claim is about, and on which side of its threshold the claim holds."""

    RATE_AT_MOST = "rate_at_most"
    RATE_AT_LEAST = "rate_at_least"
    PAIRED_ACCURACY = "paired_accuracy"
    PAIRED_SCORE = "paired_score"
