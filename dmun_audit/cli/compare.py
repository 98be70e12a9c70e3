"""`dmun-audit compare`: finished audits side by side. Needs no model."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError

ENDINGS = {
    "text": (".txt",),
    "markdown": (".md", ".markdown"),
    "html": (".html", ".htm"),
    "latex": (".tex",),
    "csv": (".csv",),
    "json": (".json",),
}
"""The formats, each with the endings of files that ask for it."""

STANDARD_OUTPUT = Path("-")

OF_ORDERINGS = ("text", "markdown", "json")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare", help="a table of methods: several candidates audited under one plan, side by side; needs no model"
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="a run folder, such as audit-runs/van-gogh-…, or a folder that holds some",
    )
    parser.add_argument(
        "--reference",
        metavar="RUN",
        help="the run with which paired tests compare the others: its name in the table, or its folder (default: the first)",
    )
    parser.add_argument(
        "--orderings",
        action="store_true",
        help="pool the orderings instead, over audits of any plans: which source of similarity predicts damage best",
    )
    parser.add_argument(
        "--format",
        choices=tuple(ENDINGS),
        help=f"how to print it: {', '.join(ENDINGS)} (default: by the ending of PATH, else text)",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format=json")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write it to a file instead; .txt, .md, .html, .tex, .csv or .json says the format; - is standard output",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison. Returns 0: a comparison has no verdict."""
    from dmun_audit._util.paths import expanded
    from dmun_audit.report.formatting import one_line
    from dmun_audit.store.files import write_atomically

    named = arguments.output is not None and arguments.output != STANDARD_OUTPUT
    output = expanded(arguments.output) if named else None
    form = arguments.format or _form_of(output)
    if output is not None:
        refuse_output(output, form)
    folders = [expanded(folder) for folder in arguments.runs]
    if arguments.orderings:
        text, runs = _orderings(folders, form, arguments.reference)
    else:
        text, runs = _methods(folders, form, output.parent if output else Path(), arguments.reference)
    if output is None:
        print(text.rstrip("\n"))
    else:
        write_atomically(output, f"{text.rstrip()}\n".encode())
        print(f"wrote {one_line(output)} ({form}, {runs} runs)")
    return 0


def _form_of(output: Path | None) -> str:
    """The format that the ending of a file asks for; text without a file or an ending. Raises UsageError for an unknown ending."""
    ending = output.suffix.lower() if output else ""
    found = next((form for form, endings in ENDINGS.items() if ending in endings), None)
    if ending and found is None:
        raise UsageError(
            f"no format has the ending {ending}",
            f"known are {', '.join(known for endings in ENDINGS.values() for known in endings)}",
            f"use one of them, or add --format (one of {', '.join(ENDINGS)})",
        )
    return found or "text"


_EARLIER = re.compile(
    r"(# |% )?[\d,]+ (audits? for|concepts? of) |method,verdict,folder,|<!DOCTYPE html>.*<p class=\"kicker\">Comparison of audits</p>"
    r'|\{\s*"target": .*"columns": |\{\s*"format": \d+,\s*"runs": .*"left_out": ',
    re.DOTALL,
)
"""How the files that this command writes begin."""


def refuse_output(output: Path, form: str) -> None:
    """Raise UsageError if a comparison must not be written to `output`.

    Its folder must exist and be no part of a run. A file that is there must have an ending of the format, or be an earlier comparison.
    """
    from dmun_audit.report.formatting import one_line

    try:
        _refuse(output, form)
    except OSError as error:
        raise UsageError(f"{one_line(output)} cannot be written", error.strerror or str(error), "name another file") from None


def _refuse(output: Path, form: str) -> None:
    from dmun_audit.comparison.runs import MANIFEST
    from dmun_audit.evidence.run import EVIDENCE
    from dmun_audit.report.formatting import one_line

    place, shown = output.resolve(), one_line(output)
    if place.is_dir():
        raise UsageError(f"{shown} is a folder", "a comparison is one file", f"name a file, such as {shown}/table.md")
    if not place.parent.is_dir():
        raise UsageError(
            f"{shown} cannot be written", f"there is no folder {one_line(output.parent)}", "create it, or name another"
        )
    runs = (folder for folder in place.parents if (folder / MANIFEST).exists())
    run = next((folder for folder in runs if folder == place.parent or (folder / EVIDENCE).exists()), None)
    if run is not None:
        raise UsageError(
            f"{shown} cannot be written",
            f"{one_line(run)} is a run folder, and a run holds nothing else",
            "name a file elsewhere",
        )
    if place.exists() and place.suffix.lower() not in ENDINGS[form] and not _is_comparison(place):
        raise UsageError(
            f"{shown} is there already",
            "it is no comparison that this command wrote",
            f"name another file, such as one with {ENDINGS[form][0]}",
        )


def _is_comparison(path: Path) -> bool:
    try:
        return path.is_file() and _EARLIER.match(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _methods(folders: Sequence[Path], form: str, beside: Path, reference: str | None) -> tuple[str, int]:
    """The table of methods as text, and the number of its runs."""
    from dmun_audit.comparison.method_tables import written
    from dmun_audit.comparison.methods import compare_methods

    table = compare_methods(folders, reference)
    return json_text(table.to_json()) if form == "json" else written(table, form, beside), len(table.rows)


def _orderings(folders: Sequence[Path], form: str, reference: str | None) -> tuple[str, int]:
    """The pooled orderings as text, and the number of runs that count."""
    from dmun_audit.comparison.orderings import compare
    from dmun_audit.comparison.text import markdown_lines, text_lines

    if form not in OF_ORDERINGS:
        raise UsageError(f"--orderings has no format {form}", "", f"write one of {', '.join(OF_ORDERINGS)}")
    if reference is not None:
        raise UsageError(
            "--reference has no meaning beside --orderings", "pooled orderings compare sources, not runs", "omit one of them"
        )
    comparison = compare(folders)
    if form == "json":
        return json_text(comparison.to_json()), len(comparison.runs)
    return "\n".join(markdown_lines(comparison) if form == "markdown" else text_lines(comparison)), len(comparison.runs)


def json_text(content: Any) -> str:
    """`content` as JSON. Characters that a terminal obeys are escaped."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)
