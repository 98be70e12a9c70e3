"""`dmun-audit compare`: finished audits side by side. Needs no model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FORMATS = ("text", "markdown", "json")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare", help="pool the orderings of several runs: which source of similarity predicts damage best; needs no model"
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--format", choices=FORMATS, default="text", help="how to print it: text, markdown or json (default: text)"
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format=json")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison. Returns 0: a comparison has no verdict."""
    from dmun_audit._util.paths import expanded
    from dmun_audit.comparison.orderings import compare
    from dmun_audit.comparison.text import markdown_lines, text_lines

    comparison = compare([expanded(folder) for folder in arguments.runs])
    if arguments.format == "json":
        print(json.dumps(comparison.to_json(), ensure_ascii=False, indent=1))
    else:
        lines = markdown_lines(comparison) if arguments.format == "markdown" else text_lines(comparison)
        print("\n".join(lines))
    return 0
