"""`dmun-audit card`: writes the section on unlearning and its metrics into a model card. Needs no model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("card", help="write the result of an audit into a model card (README.md); needs no model")
    parser.add_argument("folder", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--card", type=Path, metavar="PATH", help="the model card to change or to make (default: print the section alone)"
    )
    parser.add_argument(
        "--model-name", metavar="NAME", help="the model's name in model-index, if the card has none (default: from the audit)"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace the audit of other weights for the same target (default: an error)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Change the card, or print the section. Returns 0: the verdict is in the card."""
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.report.exports.model_card import card_section, described, write_card
    from dmun_audit.report.formatting import one_line

    audit_run = checked_run(arguments.folder)
    if arguments.card is None:
        print(card_section(audit_run))
        return 0
    reference = one_line(audit_run.manifest.reference("candidate"))
    name = arguments.model_name or reference.rstrip("/").rpartition("/")[2] or "model"
    did = write_card(audit_run, arguments.card, name, replace=arguments.replace)
    print(f"{did} {arguments.card}: {described(audit_run)}" + ("; there was no such file" if did == "created" else ""))
    return 0
