"""`dmun-audit dossier check`: names every problem of a dossier at once."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.knowledge.check import check
from dmun_audit.knowledge.dossier import World
from dmun_audit.knowledge.lengths import TokenCounter, counter_of
from dmun_audit.knowledge.packs import read_knowledge
from dmun_audit.models.references import parse_reference


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("check", help="name every problem of a dossier at once (exit 1 where there is one)")
    parser.add_argument("dossier", nargs="+", help="path of a dossier, or name of a pack")
    parser.add_argument("--base", help="model whose tokenizer counts the prompts (default: CLIP's 77; the atelier's own)")
    parser.add_argument("--strict", action="store_true", help="remarks count as problems")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Check each dossier."""
    counters: dict[str, TokenCounter] = {}

    def counter(world: World) -> TokenCounter:
        base = asked.base or ("atelier:base" if world == "atelier" else "")
        if base not in counters:
            counters[base] = counter_of(parse_reference(base) if base else None)
        return counters[base]

    failed = 0
    dossiers = [read_knowledge(reference) for reference in asked.dossier]
    for data, origin in dossiers:
        found = check(data, origin, counter)
        for line in found.problems:
            print(f"{origin}: PROBLEM: {line}")
        for line in found.remarks:
            print(f"{origin}: remark: {line}")
        if not found.problems and not found.remarks:
            print(f"{origin}: good")
        failed += bool(found.problems or (asked.strict and found.remarks))
    return 1 if failed else 0
