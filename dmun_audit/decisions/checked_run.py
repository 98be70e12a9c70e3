"""Derives the verdict of a finished audit again, from the files of its run folder alone, and names what contradicts it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

from dmun_audit import __version__
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import Conclusion, Interruptions, conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm, without_holm
from dmun_audit.decisions.release_evidence import weaker_than_a_release_audit
from dmun_audit.decisions.single_records import contradictions_of_cases
from dmun_audit.decisions.spot_check import with_spot_check
from dmun_audit.evidence import checksums
from dmun_audit.evidence.inputs import BASELINE_FILE, DOSSIER, POLICY, REGRESSIONS, UNRELATED
from dmun_audit.evidence.run import EVIDENCE, Run, read_run
from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS, CaseRecord, without_volatile
from dmun_audit.knowledge.plain_prompts import read_prompts
from dmun_audit.knowledge.reading import read_dossier
from dmun_audit.models.references import IMAGES, names_function
from dmun_audit.plan.baseline import kept_baseline
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.regressions import kept_regressions
from dmun_audit.plan.seeds import DERIVED, FIXED, drawn_seed, fingerprint_of
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.policy import load_policy
from dmun_audit.report.attestation import statement
from dmun_audit.verdict.vocabulary import AuditVerdict

SENTENCES = frozenset({"title", "asked", "seen", "remedy"})
"""The fields of a record that hold words, and no figure or verdict."""

OTHER_WORDS = "dmun_audit {} wrote this run. Its figures and verdicts are derived again; its sentences are not compared."

MOST_NAMED = 5  # sentences of one kind

LATER_FILES = (DOSSIER, POLICY, checksums.FILE, checksums.STATEMENT)
"""Files that no run of an earlier format has."""

EARLIER_FORMAT = "An earlier version wrote this run. Its verdict is read from the manifest and cannot be derived again."


def checked_run(path: Path) -> Run:
    """The run at `path`, with everything in its files that contradicts its verdict.

    The digests of all files are compared with SHA256SUMS, the pooled claims and the verdict are derived again from the single
    records, and both are compared with evidence and manifest. A run that was not concluded has no verdict to check. Raises
    UsageError if `path` is no run folder.
    """
    run = read_run(path)
    found = list(run.contradictions)
    if run.manifest.format < FIRST_WITH_CHECKSUMS:
        if later := [name for name in LATER_FILES if (path / name).exists()]:
            found.append(f"manifest.json has format {run.manifest.format}, which no run with {later[0]} has.")
        remarks = (*run.remarks, EARLIER_FORMAT) if run.concluded else run.remarks
        return replace(run, contradictions=tuple(found), remarks=remarks)
    if not run.concluded:
        if run.manifest.verdict != AuditVerdict.INCOMPLETE:
            found.append(f"manifest.json says {run.manifest.verdict} for an audit that was not concluded.")
        return replace(run, contradictions=tuple(found))
    of_files = checksums.contradictions(path)
    of_evidence = [] if EVIDENCE in of_files else found  # that the file changed is said once
    found = [*of_evidence, *_shortened([*of_files.values(), *_other_attestation(run)]), *_shortened(_derived_otherwise(run))]
    remarks = run.remarks if _has_our_words(run) else (*run.remarks, OTHER_WORDS.format(run.manifest.versions.get("dmun_audit")))
    return replace(run, contradictions=tuple(found), remarks=remarks)


def _other_attestation(run: Run) -> list[str]:
    """Whether attestation.json is the one that follows from manifest, records and SHA256SUMS."""
    path, listed = run.path / checksums.STATEMENT, run.path / checksums.FILE
    if not path.is_file() or not listed.is_file():
        return [f"{checksums.STATEMENT} is missing."] if listed.is_file() else []
    if path.read_bytes() != statement(run.manifest, run.cases, listed.read_bytes()):
        return [f"{checksums.STATEMENT} changed: another one follows from manifest, records and {checksums.FILE}."]
    return []


def _derived_otherwise(run: Run) -> list[str]:
    """Where evidence and manifest differ from what follows from the single records."""
    try:
        return _differences(run)
    except UsageError as error:
        return [f"The verdict cannot be derived again: {error.what} ({error.why})."]
    except Exception as error:  # whatever files that no audit writes make the rules raise
        return [f"The verdict cannot be derived again from these files: {type(error).__name__}: {error}."]


def _differences(run: Run) -> list[str]:
    plan = _plan(run)
    if plan.digest() != run.manifest.plan.get("digest"):
        return [_other_plan(run)]
    found = [*_other_seeds(run, plan), *_other_standing(run, plan)]
    not_run = set(run.manifest.interruptions.get("not_run", ()))
    decided = {case.case_id: case for case in run.cases if case.case_id not in not_run}
    single = {case_id: without_holm(case) for case_id, case in decided.items() if not case.pooled}
    found += contradictions_of_cases(plan, single)
    derived = _derived(plan, single, date.fromisoformat(run.manifest.day or "1970-01-01"))
    found += _other_records(decided, derived, _has_our_words(run))
    without_labels = conclude(plan, derived, _interruptions(run))
    if _waits_for_labels(run, plan, without_labels):
        return found
    return found + _other_verdict(run, with_spot_check(without_labels, plan, run.path, run.digest, derived))


def _waits_for_labels(run: Run, plan: Plan, without_labels: Conclusion) -> bool:
    """Whether only the labels of a spot-check keep the audit from a PASS. Labels that come after it count in the next audit."""
    required = plan.policy.controls.spot_check == "required"
    return required and without_labels.verdict == AuditVerdict.PASS and run.manifest.verdict == AuditVerdict.INCONCLUSIVE


def _plan(run: Run) -> Plan:
    """The plan that follows from the dossier, the policy and the seed of the run."""
    unrelated = read_prompts(run.path / UNRELATED) if (run.path / UNRELATED).exists() else ()
    seed, fingerprint = run.manifest.seeds.get("audit_seed"), run.manifest.seeds.get("fingerprint", "")
    if type(seed) is not int or not isinstance(fingerprint, str):
        raise UsageError("manifest.json does not say from which seed the plan follows", "its seeds were edited")
    dossier, policy = read_dossier(run.path / DOSSIER), load_policy(str(run.path / POLICY))
    earlier = (kept_regressions(run.path / REGRESSIONS), kept_baseline(run.path / BASELINE_FILE))
    return make_plan(dossier, policy, seed, fingerprint, unrelated, *earlier)


def _other_seeds(run: Run, plan: Plan) -> list[str]:
    """Whether the seeds are those that follow from the candidate's tensors, the policy's figures, the dossier and the nonce."""
    seeds, candidate = run.manifest.seeds, run.manifest.models.get("candidate", {})
    weights, nonce, drawn = seeds.get("weights"), seeds.get("nonce") or "", seeds.get("drawn")
    if drawn == FIXED and (plan.audit_seed != 0 or plan.policy.seeds == DERIVED):
        return [f"The audit seed {plan.audit_seed} is not the one that the policy fixes, although manifest.json says so."]
    if not candidate:  # no model was loaded
        return []
    reference = str(candidate.get("reference"))
    if reference.startswith(IMAGES):
        return []
    loaded = candidate.get("tensors_digest")
    if not names_function(reference) and weights != [loaded]:
        return ["manifest.json names other weights of the candidate than those from which its seeds were drawn."]
    identity = candidate.get("source_digest") if names_function(reference) else loaded
    if fingerprint_of([str(identity)], plan.policy, plan.dossier.digest(), nonce) != plan.fingerprint:
        return [
            "The fingerprint in manifest.json does not follow from the candidate's weights, the policy, the dossier and the nonce."
        ]
    if drawn == DERIVED and drawn_seed(plan.fingerprint) != plan.audit_seed:
        return [f"The audit seed {plan.audit_seed} does not follow from the fingerprint, although manifest.json says so."]
    return []


def _other_standing(run: Run, plan: Plan) -> list[str]:
    """Whether manifest.json says of target and policy what follows from dossier and policy: is the audit release evidence?"""
    weaker = weaker_than_a_release_audit(plan.policy, str(run.manifest.seeds.get("drawn")), plan.dossier)
    stated, target = run.manifest.policy, plan.dossier.target
    if (run.manifest.target.name, run.manifest.target.kind) != (target.name, target.kind):
        return [f"manifest.json names the target {run.manifest.target.name!r}, and {DOSSIER} {target.name!r}."]
    if (stated.get("name"), stated.get("text")) != (plan.policy.name, plan.policy.as_dict()):
        return [f"manifest.json shows other figures of the policy than {POLICY}."]
    if stated.get("weaker_than_release") != weaker or stated.get("release_evidence") is not (not weaker):
        return [f"manifest.json does not say in which {len(weaker)} ways the audit is weaker than one under the policy release."]
    if run.manifest.baseline != (plan.baseline.facts if plan.baseline else {}) and (run.manifest.baseline or _has_our_words(run)):
        return [f"manifest.json names another baseline than {BASELINE_FILE}."]
    return []


def _derived(plan: Plan, single: Mapping[str, CaseRecord], day: date) -> dict[str, CaseRecord]:
    """All records that follow from the single ones, by case id."""
    adjusted = with_holm([*single.values(), *pooled_records(plan, single)])
    return {record.case_id: record for record in with_waivers(plan, adjusted, day)}


def _interruptions(run: Run) -> Interruptions:
    known = {field.name for field in fields(Interruptions)}
    return Interruptions(**{name: value for name, value in run.manifest.interruptions.items() if name in known})


def _has_our_words(run: Run) -> bool:
    """Whether this version wrote the run. Another one may say the same in other words: then sentences are not compared."""
    return bool(run.manifest.versions.get("dmun_audit") == __version__)


def _other_records(decided: Mapping[str, CaseRecord], derived: Mapping[str, CaseRecord], our_words: bool) -> list[str]:
    found = []
    leave_out = frozenset() if our_words else SENTENCES
    for case_id in dict.fromkeys([*derived, *decided]):
        stands, follows = decided.get(case_id), derived.get(case_id)
        if stands is None or follows is None:
            title = (stands or follows or derived[case_id]).title
            found.append(
                f"“{title}” {'is in the evidence and follows from no record' if stands else 'is missing in the evidence'}."
            )
        elif stands.verdict != follows.verdict:
            found.append(
                f"“{stands.title}”: the evidence says {stands.verdict}, and {follows.verdict} follows from the single cases."
            )
        elif difference := _first_difference(stands, follows, leave_out):
            found.append(f"“{stands.title}”: {difference} is not what follows from the single cases.")
    return found


def _first_difference(stands: CaseRecord, follows: CaseRecord, leave_out: Collection[str]) -> str:
    """The field in which two records differ, besides those that are left out; empty if they do not."""
    one, other = (
        {name: value for name, value in without_volatile(record.to_json()).items() if name not in leave_out}
        for record in (stands, follows)
    )
    if one == other:
        return ""
    name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
    mine, theirs = one.get(name), other.get(name)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        inner = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        return f"{name}.{inner} ({mine.get(inner)} instead of {theirs.get(inner)})"
    return name


def _other_verdict(run: Run, conclusion: Conclusion) -> list[str]:
    manifest = run.manifest
    if conclusion.verdict != manifest.verdict:
        because = conclusion.reasons[0].partition(". ")[0].rstrip(".") if conclusion.reasons else ""
        return [f"manifest.json says {manifest.verdict}, and {conclusion.verdict} follows from the evidence: {because}."]
    if manifest.exit_code != manifest.verdict.exit_code:
        return [f"manifest.json says {manifest.verdict} with exit code {manifest.exit_code}."]
    if _has_our_words(run) and manifest.reasons != conclusion.reasons:
        return ["The reasons in manifest.json are not those that follow from the evidence."]
    return []


def _other_plan(run: Run) -> str:
    wrote = run.manifest.versions.get("dmun_audit")
    if wrote != __version__:
        return (
            f"The plan of this audit cannot be made again: dmun_audit {wrote} wrote it, and this is {__version__}. "
            f"Check it with dmun_audit {wrote}."
        )
    return f"The plan that follows from {DOSSIER}, {POLICY} and the seeds is not the plan of the audit."


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - MOST_NAMED
    return sentences if more <= 1 else [*sentences[:MOST_NAMED], f"And {more} more contradictions of this kind."]
