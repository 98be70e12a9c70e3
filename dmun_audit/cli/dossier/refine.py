"""`dmun-audit dossier refine`: a language model replaces prompts that do not work on the base model."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.cli.dossier import discovery_tools, language_model_options
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.interview.expected_questions import expected_refinement


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("refine", help="replace the prompts that do not bring out the target on the base model")
    discovery_tools.add_to(parser)
    parser.add_argument("--base", required=True, metavar="REF", help="model before unlearning")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of replacements (default: 3)")
    language_model_options.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Refine the dossier."""
    language_model_options.require_new_file(arguments.output, arguments.force)
    language_model_options.require_at_least(arguments, "rounds", 1)
    with discovery_tools.open_tools(arguments, arguments.base, arguments.output) as tools:
        from dmun_audit.discover.refinement import refine, refinement_budget
        from dmun_audit.discover.trials import PromptTrials

        budget = refinement_budget(tools.observations, arguments.rounds)
        discovery_tools.announce_budget(arguments, budget)
        discovery_tools.announce_questions(
            arguments, tools, expected_refinement(arguments.rounds, tools.observations.plan.dossier)
        )
        trials = PromptTrials(tools.observations, budget)
        result = refine(trials, tools.interviewer, tools.counter, arguments.rounds, language_model_options.print_progress)
    write_dossier(result.dossier, arguments.output)
    count = len(result.dossier.adversarial)
    images = f"{result.images:,} of {budget:,} images, {trials.rendered:,} of them rendered now"
    print(
        f"{arguments.output}: {result.working_after} of {count} adversarial prompts work on base, {result.working_before} before "
        f"({images})"
    )
    return 0
