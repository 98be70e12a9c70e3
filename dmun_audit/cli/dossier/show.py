"""`dmun-audit dossier show`: prints a dossier for reading."""

from __future__ import annotations

import argparse
import shutil
from typing import Any

from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.show import show


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("show", help="print a dossier for reading")
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the dossier, in the width of the terminal."""
    for line in show(open_knowledge(arguments.dossier), shutil.get_terminal_size((110, 40)).columns):
        print(line)
    return 0
