"""`dmun-audit dossier …`: one file a command."""

from __future__ import annotations

from typing import Any


def add_to(commands: Any) -> None:
    """Add the command `dossier` and its own commands."""
    from dmun_audit.cli.dossier import add_finds, attack, build, check, diff, order, refine, show

    parser = commands.add_parser("dossier", help="build, check, show, compare, order and refine dossiers; attack a candidate")
    dossier_commands = parser.add_subparsers(dest="dossier_command", required=True, metavar="COMMAND")
    for command in (build, check, show, diff, order, refine, attack, add_finds):
        command.add_to(dossier_commands)
