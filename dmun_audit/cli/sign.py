"""`dmun-audit sign`: signs the attestation of a finished audit with a private key."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

PASSWORD = "DMUN_SIGNING_PASSWORD"


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("sign", help="sign a finished audit with a private key (extra: sign)")
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        help=f"private key, a PEM file (Ed25519, ECDSA or RSA); the variable {PASSWORD} holds its password, if it has one",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check the run, sign its attestation, print what was signed. Raises UsageError for a run that contradicts itself."""
    from dmun_audit._util.errors import UsageError
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.evidence.checksums import SIGNATURE
    from dmun_audit.evidence.run_lock import writing
    from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS
    from dmun_audit.report.signing import sign

    audit_run = checked_run(arguments.folder)
    if audit_run.manifest.format < FIRST_WITH_CHECKSUMS:
        raise UsageError(
            f"{arguments.folder} is not signed", "an earlier version wrote it, without a list of its files", "audit again"
        )
    if not audit_run.concluded or audit_run.altered:
        why = audit_run.contradictions[0] if audit_run.altered else "the audit has not finished"
        raise UsageError(f"{arguments.folder} is not signed", why, "run the audit again: it reuses its images")
    password = os.environ.get(PASSWORD)
    with writing(audit_run.path):
        key_id = sign(audit_run, arguments.key, password.encode() if password else None)
    print(f"signed: verdict {audit_run.verdict}, with key {key_id}")
    print(f"  {arguments.folder / SIGNATURE}")
    print(f"Give the whole folder and the public key. To verify: dmun-audit verify {arguments.folder} --key=PUBLIC.pem")
    return 0
