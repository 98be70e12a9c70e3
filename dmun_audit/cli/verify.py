"""`dmun-audit verify`: verifies a signed audit with the public key alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("verify", help="verify a signed audit with the public key; needs no model (extra: sign)")
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--key", type=Path, required=True, help="public key of whoever signed, a PEM file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify signature and files, and derive the verdict again. Returns 0 if all of it holds, and else 1: every problem is named.

    The exit code says whether the evidence holds, and not whether the audit passed.
    """
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.report.formatting import one_line
    from dmun_audit.report.signing import key_id, verify
    from dmun_audit.report.standing import release_lines

    problems = verify(arguments.folder, arguments.key)
    if problems:
        print(f"NOT VERIFIED: {arguments.folder}")
        print("\n".join(f"  - {one_line(problem)}" for problem in problems))
        return 1
    audit_run = checked_run(arguments.folder)
    if audit_run.altered:
        print(f"NOT VERIFIED: the files of {arguments.folder} are those that were signed, and they contradict the verdict")
        print("\n".join(f"  - {one_line(problem)}" for problem in audit_run.contradictions))
        return 1
    candidate = audit_run.manifest.models.get("candidate", {})
    print(f"VERIFIED: signature, every file and verdict of {arguments.folder}")
    print(f"  verdict    {audit_run.verdict}: audit of {one_line(audit_run.manifest.target.name)}, {audit_run.manifest.finished}")
    print(f"  candidate  {one_line(candidate.get('reference', 'not loaded'))}")
    for name, digest in (candidate.get("files") or {}).items():
        print(f"             sha256:{one_line(digest)}  {one_line(name)}")
    print(f"  policy     {one_line(audit_run.manifest.policy.get('name', ''))}")
    for line in release_lines(audit_run):
        print(f"             {line}")
    print(f"  key        {key_id(arguments.key)}")
    return 0
