"""Derives the verdict of a finished audit again, from the files of its run folder alone, and names what contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

from dmun_audit import __version__
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import Conclusion, Interruptions, conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm, without_holm
from dmun_audit.decisions.single_records import contradictions_of_cases
from dmun_audit.decisions.spot_check import with_spot_check
from dmun_audit.evidence import checksums
from dmun_audit.evidence.inputs import DOSSIER, POLICY, UNRELATED
from dmun_audit.evidence.run import Run, read_run
from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS, CaseRecord, without_volatile
from dmun_audit.knowledge.plain_prompts import read_prompts
from dmun_audit.knowledge.reading import read_dossier
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.seeds import DERIVED, drawn_seed, fingerprint_of
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.policy import load_policy

MOST_NAMED = 5  # sentences of one kind

EARLIER_FORMAT = "An earlier version wrote this run. Its verdict is read from the manifest and cannot be derived again."


def checked_run(path: Path) -> Run:
    """The run at `path`, with everything in its files that contradicts its verdict.

    The digests of all files are compared with SHA256SUMS, the pooled claims and the verdict are derived again from the single
    records, and both are compared with evidence and manifest. A run that was not concluded has no verdict to check. Raises
    UsageError if `path` is no run folder.
    """
    run = read_run(path)
    if not run.concluded:
        return run
    files = checksums.contradictions(path) if _has_checksums(run) else []
    if run.manifest.format < FIRST_WITH_CHECKSUMS:
        return replace(run, contradictions=(*run.contradictions, *_shortened(files)), remarks=(*run.remarks, EARLIER_FORMAT))
    return replace(run, contradictions=(*run.contradictions, *_shortened(files), *_shortened(_derived_otherwise(run))))


def _has_checksums(run: Run) -> bool:
    return run.manifest.format >= FIRST_WITH_CHECKSUMS or (run.path / checksums.FILE).exists()


def _derived_otherwise(run: Run) -> list[str]:
    """Where evidence and manifest differ from what follows from the single records."""
    try:
        plan = _plan(run)
    except UsageError as error:
        return [f"The verdict cannot be derived again: {error.what} ({error.why})."]
    if plan.digest() != run.manifest.plan.get("digest"):
        return [_other_plan(run)]
    found = _other_seeds(run, plan)
    not_run = set(run.manifest.interruptions.get("not_run", ()))
    decided = {case.case_id: case for case in run.cases if case.case_id not in not_run}
    single = {case_id: without_holm(case) for case_id, case in decided.items() if not case.pooled}
    found += contradictions_of_cases(plan, single)
    try:
        derived = _derived(plan, single, date.fromisoformat(run.manifest.day or "1970-01-01"))
        conclusion = with_spot_check(conclude(plan, derived, _interruptions(run)), plan, run.path, run.digest, derived)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:  # records that no audit writes
        return [*found, f"The verdict cannot be derived again from these records: {type(error).__name__}: {error}."]
    found += _other_records(decided, derived)
    return found + _other_verdict(run, conclusion)


def _plan(run: Run) -> Plan:
    """The plan that follows from the dossier, the policy and the seed of the run."""
    unrelated = read_prompts(run.path / UNRELATED) if (run.path / UNRELATED).exists() else ()
    seed, fingerprint = run.manifest.seeds.get("audit_seed"), run.manifest.seeds.get("fingerprint", "")
    if type(seed) is not int or not isinstance(fingerprint, str):
        raise UsageError("manifest.json does not say from which seed the plan follows", "its seeds were edited")
    return make_plan(read_dossier(run.path / DOSSIER), load_policy(str(run.path / POLICY)), seed, fingerprint, unrelated)


def _other_seeds(run: Run, plan: Plan) -> list[str]:
    """Whether the seeds are those that follow from the candidate's weights, the policy's figures, the dossier and the nonce."""
    seeds, candidate = run.manifest.seeds, run.manifest.models.get("candidate", {})
    weights, nonce = seeds.get("weights") or [], seeds.get("nonce") or ""
    if not weights:  # a candidate whose weights nobody sees
        return []
    if candidate.get("weights_digest", weights[0]) not in weights:
        return ["manifest.json names other weights of the candidate than those from which its seeds were drawn."]
    if fingerprint_of(weights, plan.policy, plan.dossier.digest(), nonce) != plan.fingerprint:
        return [
            "The fingerprint in manifest.json does not follow from the candidate's weights, the policy, the dossier and the nonce."
        ]
    if seeds.get("drawn") == DERIVED and drawn_seed(plan.fingerprint) != plan.audit_seed:
        return [f"The audit seed {plan.audit_seed} does not follow from the fingerprint, although manifest.json says so."]
    return []


def _derived(plan: Plan, single: Mapping[str, CaseRecord], day: date) -> dict[str, CaseRecord]:
    """All records that follow from the single ones, by case id."""
    adjusted = with_holm([*single.values(), *pooled_records(plan, single)])
    return {record.case_id: record for record in with_waivers(plan, adjusted, day)}


def _interruptions(run: Run) -> Interruptions:
    known = {field.name for field in fields(Interruptions)}
    return Interruptions(**{name: value for name, value in run.manifest.interruptions.items() if name in known})


def _other_records(decided: Mapping[str, CaseRecord], derived: Mapping[str, CaseRecord]) -> list[str]:
    found = []
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
        elif without_volatile(stands.to_json()) != without_volatile(follows.to_json()):
            found.append(f"“{stands.title}”: {_first_difference(stands, follows)} is not what follows from the single cases.")
    return found


def _first_difference(stands: CaseRecord, follows: CaseRecord) -> str:
    one, other = without_volatile(stands.to_json()), without_volatile(follows.to_json())
    name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
    mine, theirs = one.get(name), other.get(name)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        inner = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        return f"{name}.{inner} ({mine.get(inner)} instead of {theirs.get(inner)})"
    return name


def _other_verdict(run: Run, conclusion: Conclusion) -> list[str]:
    manifest = run.manifest
    if conclusion.verdict != manifest.verdict:
        because = conclusion.reasons[0].partition(". ")[0] if conclusion.reasons else ""
        return [f"manifest.json says {manifest.verdict}, and {conclusion.verdict} follows from the evidence: {because}."]
    if manifest.exit_code != manifest.verdict.exit_code:
        return [f"manifest.json says {manifest.verdict} with exit code {manifest.exit_code}."]
    return []


def _other_plan(run: Run) -> str:
    wrote = run.manifest.versions.get("dmun_audit")
    if wrote != __version__:
        return (
            f"The plan of this audit cannot be made again: dmun_audit {wrote} wrote it, and this is {__version__}. "
            f"Check it with dmun_audit {wrote}."
        )
    return f"{DOSSIER}, {POLICY} or the seeds are not those of the audit: another plan follows from them."


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - MOST_NAMED
    return sentences if more <= 1 else [*sentences[:MOST_NAMED], f"And {more} more contradictions of this kind."]
