"""What the audit is evidence for: release evidence or not, how its seeds were drawn, other audits of the same weights."""

from __future__ import annotations

from dmun_audit.evidence.manifest import Manifest, OtherAttempt
from dmun_audit.evidence.run import Run
from dmun_audit.plan.seeds import foreseen, seed_sentences
from dmun_audit.policy import release_sentence
from dmun_audit.report.formatting import count, one_line
from dmun_audit.verdict.vocabulary import AuditVerdict

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def weaker_than_release(manifest: Manifest) -> list[str] | None:
    """The ways in which the audit is weaker than one under the policy release; None if an earlier version compared nothing."""
    weaker = manifest.policy.get("weaker_than_release")
    return [one_line(way) for way in weaker] if isinstance(weaker, list) else None


def is_release_evidence(run: Run) -> bool:
    """Whether the audit is release evidence, for all cases that are not waived. Not if an earlier version compared nothing."""
    return weaker_than_release(run.manifest) == [] and run.verdict in (AuditVerdict.PASS, AuditVerdict.FAIL)


def release_lines(run: Run) -> list[str]:
    """Whether the audit is release evidence, and for which cases not. Empty if an earlier version compared nothing."""
    weaker = weaker_than_release(run.manifest)
    if weaker is None:
        return []
    if not weaker and not is_release_evidence(run):
        return [f"No release evidence: the audit is {run.verdict}."]
    waived = [one_line(case.title or case.case_id) for case in run.cases if case.is_waived]
    if weaker or not waived:
        return [release_sentence(weaker)]
    return [release_sentence(weaker), f"Not for what is waived: {'; '.join(waived)}."]


def seed_lines(run: Run) -> list[str]:
    """How the seeds were drawn, in sentences; empty if an earlier version does not say from what."""
    seeds = run.manifest.seeds
    if "figures" not in seeds:
        return []
    drawn, nonce = one_line(seeds.get("drawn", "")), one_line(seeds.get("nonce") or "")
    source = "" if foreseen(one_line(seeds.get("fingerprint", ""))) else "the candidate's source"
    source = "the candidate's weights" if seeds.get("weights") else source
    draws_prompts = any(case.group in ("fresh", "triggers") for case in run.cases)
    return seed_sentences(seeds.get("audit_seed", 0), drawn, nonce, source if draws_prompts else "")


def attempt_sentence(manifest: Manifest) -> str:
    """The place of this audit among all audits of its weights: "This is the third audit of these weights." Empty for the only one."""
    same, others = _for_target(manifest), len(manifest.earlier_attempts)
    if not others:
        return ""
    began = manifest.attempts[0].started if manifest.attempts else ""
    earlier = [attempt for attempt in same if attempt.began <= began]
    sentences = [f"This is {_place(len(earlier) + 1)} of these weights for this target."] if same else []
    if later := len(same) - len(earlier):
        sentences.append(f"{count(later, 'more audit')} began later.")
    if others > len(same):
        targets = ", ".join(dict.fromkeys(one_line(each.target) for each in manifest.earlier_attempts if each not in same))
        sentences.append(f"The same weights were audited for other targets: {targets}.")
    return " ".join(sentences)


def other_verdicts(manifest: Manifest) -> str:
    """The other audits of the same weights with their verdicts, in a few words: "3 other audits of these weights: FAIL, PASS"."""
    same, others = _for_target(manifest), len(manifest.earlier_attempts)
    found = {one_line(verdict) for attempt in same for verdict in (attempt.verdict or "not concluded").split(", then ")}
    words = [f"{count(len(same), 'other audit')} of these weights: {', '.join(sorted(found))}"] if same else []
    words += [f"{count(others - len(same), 'audit')} for other targets"] if others > len(same) else []
    return "; ".join(words)


def attempt_lines(manifest: Manifest) -> list[str]:
    """A line for each other audit of the same weights: when, policy, seed, verdict."""
    return [_line(attempt) for attempt in manifest.earlier_attempts]


def unfinished_lines(run: Run) -> list[str]:
    """For an audit that was not concluded: what is known of it, in sentences. Empty for any other."""
    if run.concluded:
        return []
    manifest = run.manifest
    began = [_moment(attempt.started) for attempt in manifest.attempts]
    lines = ["The run did not finish, so it has no verdict."]
    if began:
        lines.append(
            f"It began on {began[0]}." if len(began) == 1 else f"It began {len(began)} times, the last time on {began[-1]}."
        )
    if ended := [attempt for attempt in manifest.attempts if attempt.verdict]:
        lines.append(f"An earlier attempt ended with {ended[-1].verdict}, on {_moment(ended[-1].finished or '')}.")
    if stopped := one_line(manifest.interruptions.get("stopped") or ""):
        lines.append(f"An attempt stopped early: {stopped}")
    lines.append(_decided(run))
    failures = [case for case in run.cases if case.is_failure]
    if failures:
        title = one_line(failures[-1].title or failures[-1].case_id)
        lines.append(f"The last case so far that did not pass is {failures[-1].verdict}: {title}. {one_line(failures[-1].seen)}")
    lines.append(
        "Nothing in the folder says why the run ended. It may still run. If not, an error, a time limit or a kill ended it."
    )
    lines.append("Run the audit again: it goes on and reuses its images.")
    return lines


def _decided(run: Run) -> str:
    planned = run.manifest.plan.get("cases")
    of = f" of {count(planned, 'case')}" if isinstance(planned, int) else ""
    return f"It decided {len(run.cases)}{of}."


def _moment(text: str) -> str:
    return one_line(text).replace("T", " ").replace("Z", " UTC")


def _line(attempt: OtherAttempt) -> str:
    began = _moment(attempt.began)
    verdict = one_line(attempt.verdict) or "not concluded"
    policy = f"policy {one_line(attempt.policy)} ({one_line(attempt.policy_digest)[:8]})"
    return f"{verdict} under {policy}, {one_line(attempt.target)}, seed {attempt.audit_seed}, {began}, {one_line(attempt.folder)}"


def _for_target(manifest: Manifest) -> list[OtherAttempt]:
    return [attempt for attempt in manifest.earlier_attempts if attempt.target == manifest.target.name]


def _place(number: int) -> str:
    return f"the {ORDINALS[number - 1]} audit" if number <= len(ORDINALS) else f"audit number {number}"
