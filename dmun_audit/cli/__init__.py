"""`dmun-audit …`: one file a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dmun_audit.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input ends in one clear message and exit code 4."""
    from dmun_audit.cli import atelier, dossier, init, report, schema

    parser = argparse.ArgumentParser(prog="dmun-audit", description="Audit unlearning in text-to-image diffusion models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (init, dossier, report, schema, atelier):
        command.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except UsageError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stood", file=sys.stderr)
        return 2
