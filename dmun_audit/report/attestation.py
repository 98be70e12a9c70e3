"""The attestation of an audit: an in-toto Statement with the predicate test-result v0.1, and its signature in a DSSE envelope.

Sources: in-toto Attestation Framework, Statement v1 and predicate test-result v0.1; DSSE v1 (Dead Simple Signing Envelope).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dmun_audit._util.hashing import digest_bytes
from dmun_audit.evidence.checksums import FILE, parsed
from dmun_audit.evidence.inputs import DOSSIER, POLICY
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

AS_LOADED = "SHA-256 over the tensors of every network as loaded, with configurations and tokenizers; no file has this digest"

Descriptor = dict[str, Any]


def statement(manifest: Manifest, cases: Iterable[CaseRecord], checksums: bytes) -> bytes:
    """The Statement as JSON. `checksums` is the content of SHA256SUMS, which lists every file of the run.

    The subject is the candidate: the digest of its weights as loaded, and its source files. `result` is PASSED for a PASS
    without a waived case, WARNED for a PASS with waivers, and FAILED for every other verdict: none of them is a pass. Cases that
    are only reported are no tests.
    """
    cases = list(cases)
    waived = any(case.is_waived for case in cases)
    passed = "WARNED" if waived else "PASSED"
    predicate = {
        "result": passed if manifest.verdict == AuditVerdict.PASS else "FAILED",
        "configuration": _configuration(manifest, checksums),
        "passedTests": [case.case_id for case in cases if case.gating and case.verdict == Verdict.PASS],
        "warnedTests": [case.case_id for case in cases if case.gating and not case.is_failure and case.verdict != Verdict.PASS],
        "failedTests": [case.case_id for case in cases if case.gating and case.is_failure],
    }
    if url := _url(manifest):
        predicate["url"] = url
    content = {
        "_type": STATEMENT_TYPE,
        "subject": _subject(manifest),
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _subject(manifest: Manifest) -> list[Descriptor]:
    candidate = manifest.models.get("candidate", {})
    name = candidate.get("reference") or "the candidate"
    files = candidate.get("files") or {}
    if not candidate.get("weights_digest"):  # no model was loaded
        return [{"name": "the audit, without a loaded candidate", "digest": {"sha256": manifest.audit_hash}}]
    loaded = {
        "name": f"{name} (weights as loaded)",
        "digest": {"sha256": candidate["weights_digest"]},
        "annotations": {"digest": AS_LOADED},
    }
    return [loaded, *({"name": file, "digest": {"sha256": digest}} for file, digest in files.items())]


def _configuration(manifest: Manifest, checksums: bytes) -> list[Descriptor]:
    """Policy, dossier, judge, plan and software of the audit, its verdict, and the list of all its files.

    Policy and dossier are known by the SHA-256 of their files, judge and plan by the digest in the manifest.
    """
    judge, packages, files = manifest.judge, manifest.versions, parsed(checksums) or {}
    released = manifest.policy.get("release_evidence")
    verdict = {"verdict": str(manifest.verdict), "reasons": list(manifest.reasons), "target": manifest.target.name}
    described = [
        {"name": FILE, "digest": {"sha256": digest_bytes(checksums)}, "annotations": verdict},
        _known_by("policy", files.get(POLICY), file=POLICY, policy=manifest.policy.get("name"), release_evidence=released),
        _known_by("dossier", files.get(DOSSIER), file=DOSSIER),
        _known_by("judge", judge.get("digest"), reference=judge.get("reference")),
        _known_by(
            "plan", manifest.plan.get("digest"), audit_seed=manifest.seeds.get("audit_seed"), seeds=manifest.seeds.get("drawn")
        ),
        *(
            {"name": name, "uri": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"}
            for name, version in packages.items()
            if version
        ),
    ]
    return [each for each in described if each]


def _known_by(name: str, digest: str | None, **annotations: Any) -> Descriptor:
    if not digest:
        return {}
    return {"name": name, "digest": {"sha256": digest}, "annotations": {k: v for k, v in annotations.items() if v is not None}}


def _url(manifest: Manifest) -> str:
    """The page of the CI job, if the environment named one."""
    job = manifest.command.get("ci_job") or {}
    if "GITHUB_RUN_ID" in job and "GITHUB_REPOSITORY" in job:
        return f"https://github.com/{job['GITHUB_REPOSITORY']}/actions/runs/{job['GITHUB_RUN_ID']}"
    return job.get("CI_JOB_URL") or job.get("BUILD_URL") or ""
