"""`dmun-audit dossier check`: names every problem of a dossier at once."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.cli.dossier import check_images
from dmun_audit.cli.dossier.idle_options import remark_on_idle_options
from dmun_audit.knowledge.check import check
from dmun_audit.knowledge.dossier import World
from dmun_audit.knowledge.lengths import TokenCounter, counter_of
from dmun_audit.knowledge.packs import read_knowledge
from dmun_audit.knowledge.score import score
from dmun_audit.models.references import parse_reference


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("check", help="name every problem of a dossier at once (exit 1 if there is one)")
    parser.add_argument("dossier", nargs="+", help="path of a dossier, or name of a pack")
    parser.add_argument(
        "--base", help="model whose tokenizer counts prompts (default: CLIP's, 77 tokens; the atelier's for its dossiers)"
    )
    parser.add_argument("--strict", action="store_true", help="treat remarks as problems")
    check_images.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check each dossier, and print what it is worth."""
    check_images.require_base(arguments)
    remark_on_idle_options(arguments)
    counters: dict[str, TokenCounter] = {}

    def counter(world: World) -> TokenCounter:
        base = arguments.base or ("atelier:base" if world == "atelier" else "")
        if base not in counters:
            counters[base] = counter_of(parse_reference(base) if base else None)
        return counters[base]

    failed = all_remarks = 0
    dossiers = [read_knowledge(reference) for reference in arguments.dossier]
    for data, origin in dossiers:
        result = check(data, origin, counter)
        for line in result.problems:
            print(f"{origin}: PROBLEM: {line}")
        for line in result.remarks:
            print(f"{origin}: remark: {line}")
        if not result.problems and not result.remarks:
            print(f"{origin}: good")
        if result.dossier:
            for line in score(result.dossier, counter(result.dossier.world)).lines():
                print(f"  {line}")
        if result.dossier and arguments.images:
            print("\n".join(f"  {line}" for line in check_images.lines(arguments, result.dossier)), flush=True)
        all_remarks += len(result.remarks)
        failed += bool(result.problems or (arguments.strict and result.remarks))
    if arguments.strict and all_remarks:
        print(
            f"--strict: {all_remarks} remarks count as problems" if all_remarks > 1 else "--strict: 1 remark counts as a problem"
        )
    return 1 if failed else 0
