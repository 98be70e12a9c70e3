"""`dmun-audit dossier diff`: prints the differences between two dossiers."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.knowledge.packs import open_knowledge


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("diff", help="print the differences between two dossiers (exit 1 if there are any)")
    parser.add_argument("old", help="path of a dossier, or name of a pack")
    parser.add_argument("new", help="path of a dossier, or name of a pack")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the differences."""
    from dmun_audit.knowledge.diff import diff  # here, because it imports scipy

    lines = diff(open_knowledge(arguments.old), open_knowledge(arguments.new))
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0
