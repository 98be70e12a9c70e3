"""A small calibration for continuous integration: it fails where audits err more often than a policy promises.

A correct package fails these checks on at most about one seed in a thousand. `ALARM_RATE` is the probability of an alarm over
all checks of candidates at a limit and of good ones, where errors are allowed; Bonferroni's correction shares it among them.
Candidates far over a limit must have no PASS at all. By the exact rules, the probability of one in 40 audits is under 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy import stats

from benchmarks.calibration.formatting import percent, table
from benchmarks.calibration.judged_images import JudgedImages
from benchmarks.calibration.known_answers import GROUPS, Candidate, KnownAnswers, candidate_at
from benchmarks.calibration.known_models import BASE, DAMAGED, ESD, RETRAINED, UCE
from benchmarks.calibration.resampling import ResampledAudit, Resampler
from benchmarks.calibration.tables import VERDICTS
from dmun_audit.policy import Policy
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

ALARM_RATE = 0.001
"""The probability that a correct package fails a check at which errors are allowed."""

TIMES_AT_LIMIT = 5
"""How many times more audits there are of candidates at a limit."""

FAR = 4
"""The rate of a candidate far over a limit, as a multiple of the limit."""

MOST_MISSED = 0.01
"""The highest share of good candidates that may not pass. The whole calibration measures at most 0.1%."""

FAMILIES = {
    "erasure": (BASE, UCE, f"{UCE}@"),
    "adversarial": (BASE, ESD, f"{ESD}@"),
    "retention": (RETRAINED, DAMAGED, f"{RETRAINED}+{DAMAGED}@"),
}
"""The models from which candidates of a chosen rate are mixed: two names, and the start of other names."""


@dataclass(frozen=True)
class Requirement:
    """What audits of one candidate must keep: `is_error` holds in at most `most` of `audits`."""

    candidate: Candidate
    answer: str
    error: str
    is_error: Callable[[ResampledAudit], bool]
    audits: int
    most: int


@dataclass(frozen=True)
class Result:
    """A requirement, the verdicts of its audits, and the number of errors among them."""

    requirement: Requirement
    verdicts: tuple[AuditVerdict, ...]
    errors: int

    @property
    def is_kept(self) -> bool:
        """Whether there are no more errors than allowed."""
        return self.errors <= self.requirement.most


def most_errors(audits: int, rate: float, alarm_rate: float) -> int:
    """The smallest number that so many audits exceed with a probability of at most `alarm_rate`, if each errs at `rate`."""
    return int(stats.binom.isf(alarm_rate, audits, rate))


def requirements(answers: KnownAnswers, audits: int) -> list[Requirement]:
    """What audits under the policy of `answers` must keep. Candidates at a limit get `TIMES_AT_LIMIT` times `audits`."""
    alarm_rate = ALARM_RATE / (len(GROUPS) + 2)
    alpha, at_limit = answers.plan.policy.alpha, TIMES_AT_LIMIT * audits
    not_erased = Candidate.of(BASE)
    required = [
        Requirement(not_erased, f"not erased: {BASE}", "no FAIL", lambda audit: audit.verdict != AuditVerdict.FAIL, audits, 0)
    ]
    for group in GROUPS:
        candidate = _candidate(answers, group, FAR)
        required.append(Requirement(candidate, candidate.name, "PASS", _passes, audits, 0))
    for group in GROUPS:
        candidate, most = _candidate(answers, group, 1), most_errors(at_limit, alpha, alarm_rate)
        error = "PASS of the claim or the audit"
        required.append(Requirement(candidate, candidate.name, error, _releases(group), at_limit, most))
    for model in (RETRAINED, UCE):
        most = most_errors(audits, MOST_MISSED, alarm_rate)
        required.append(
            Requirement(Candidate.of(model), f"good: {model}", "no PASS", lambda audit: not _passes(audit), audits, most)
        )
    return required


def run_quick(policy: Policy, promise: Policy, audits: int, seed: int) -> list[Result]:
    """Run audits under `policy`, and hold them against what the policy `promise` promises."""
    images = JudgedImages()
    resampler = Resampler(images, {"policy": policy})
    results = []
    for requirement in requirements(KnownAnswers(images, images.plan(promise)), audits):
        numbers = range(requirement.audits)
        outcomes = [audit["policy"] for audit in resampler.run(requirement.candidate, seed, numbers)]
        errors = sum(map(requirement.is_error, outcomes))
        results.append(Result(requirement, tuple(outcome.verdict for outcome in outcomes), errors))
    return results


def quick_table(results: Sequence[Result]) -> str:
    """One row for each requirement."""
    rows = []
    for result in results:
        required, verdicts = result.requirement, result.verdicts
        shares = [percent(sum(each == name for each in verdicts) / len(verdicts)) for name in VERDICTS]
        kept = "kept" if result.is_kept else "BROKEN"
        rows.append([required.answer, str(len(verdicts)), *shares, required.error, str(result.errors), str(required.most), kept])
    return table(["known answer", "audits", *VERDICTS, "error", "errors", "at most", "result"], rows)


def _candidate(answers: KnownAnswers, group: str, multiple: int) -> Candidate:
    """A candidate at a multiple of the limit of one group; its other groups are clean."""
    first, second, prefix = FAMILIES[group]
    family = [model for model in answers.images.models if model in (first, second) or model.startswith(prefix)]
    name = f"{group} at its limit" if multiple == 1 else f"{group} at {multiple} times its limit"
    return candidate_at(answers, group, multiple * answers.limit(group), family, name)


def _passes(audit: ResampledAudit) -> bool:
    return audit.verdict == AuditVerdict.PASS


def _releases(group: str) -> Callable[[ResampledAudit], bool]:
    """Whether an audit passes, or the pooled claim of a group does."""
    return lambda audit: _passes(audit) or audit.claims[group][0] == Verdict.PASS
