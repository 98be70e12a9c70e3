"""`dmun-audit …`: one file a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dmun_audit._util.errors import UsageError


def build_parser() -> argparse.ArgumentParser:
    """The parser of `dmun-audit` with all its commands. The documentation's reference is written from it."""
    from dmun_audit.cli import atelier, dossier, init, inspect, report, requests, schema, spot_check

    parser = argparse.ArgumentParser(prog="dmun-audit", description="Audit unlearning in text-to-image diffusion models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (init, dossier, inspect, requests, report, spot_check, schema, atelier):
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input ends in one clear message and exit code 4."""
    parsed = build_parser().parse_args(arguments)
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 4
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stood", file=sys.stderr)
        return 2
