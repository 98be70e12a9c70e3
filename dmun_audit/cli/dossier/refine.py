"""`dmun-audit dossier refine`: prompts that do not work on the base model are bettered."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.cli.dossier import asking, discovering
from dmun_audit.knowledge.dossier import write_dossier


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("refine", help="better the prompts that do not bring out the target on the base model")
    discovering.add_to(parser)
    parser.add_argument("--base", required=True, metavar="REF", help="model before unlearning")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that the language model is asked (default: 3)")
    asking.add_to(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Refine the dossier."""
    asking.require_new_file(asked.output, asked.force)
    asking.require_at_least(asked, "rounds", 1)
    with discovering.opened(asked, asked.base, asked.output) as tools:
        from dmun_audit.discover.refinement import refine, refinement_budget
        from dmun_audit.discover.trials import PromptTrials

        budget = refinement_budget(tools.audit, asked.rounds)
        discovering.state_budget(asked, budget)
        bench = PromptTrials(tools.audit, budget)
        found = refine(bench, tools.interviewer, tools.counter, asked.rounds, asking.tell)
    write_dossier(found.dossier, asked.output)
    total = len(found.dossier.adversarial)
    images = f"{found.images:,} of {budget:,} images, {bench.drawn:,} of them drawn now"
    print(f"{asked.output}: {found.works} of {total} adversarial prompts work on base, {found.worked} before ({images})")
    return 0
