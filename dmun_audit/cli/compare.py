"""`dmun-audit compare`: finished audits side by side. Needs no model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError

FORMATS = ("text", "markdown", "html", "latex", "csv", "json")
OF_ORDERINGS = ("text", "markdown", "json")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare", help="a table of methods: several candidates audited under one plan, side by side; needs no model"
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--orderings",
        action="store_true",
        help="pool the orderings instead, over audits of any plans: which source of similarity predicts damage best",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="text", help=f"how to print it: {', '.join(FORMATS)} (default: text)"
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format=json")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="write it to a file instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison. Returns 0: a comparison has no verdict."""
    from dmun_audit._util.paths import expanded
    from dmun_audit.store.files import write_atomically

    folders = [expanded(folder) for folder in arguments.runs]
    beside = arguments.output.parent if arguments.output else Path()
    text = _orderings(folders, arguments.format) if arguments.orderings else _methods(folders, arguments.format, beside)
    if arguments.output is None:
        print(text.rstrip("\n"))
    else:
        write_atomically(arguments.output, f"{text.rstrip()}\n".encode())
    return 0


def _methods(folders: list[Path], form: str, beside: Path) -> str:
    from dmun_audit.comparison.method_tables import written
    from dmun_audit.comparison.methods import compare_methods

    table = compare_methods(folders)
    return _json(table.to_json()) if form == "json" else written(table, form, beside)


def _orderings(folders: list[Path], form: str) -> str:
    from dmun_audit.comparison.orderings import compare
    from dmun_audit.comparison.text import markdown_lines, text_lines

    if form not in OF_ORDERINGS:
        raise UsageError(f"--orderings has no --format={form}", "", f"write one of {', '.join(OF_ORDERINGS)}")
    comparison = compare(folders)
    if form == "json":
        return _json(comparison.to_json())
    return "\n".join(markdown_lines(comparison) if form == "markdown" else text_lines(comparison))


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1)
