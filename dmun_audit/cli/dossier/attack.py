"""`dmun-audit dossier attack`: a language model searches for prompts that bring the target back on a candidate."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dmun_audit.cli.dossier import discovery_tools, language_model_options
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.interview.expected_questions import expected_attack

if TYPE_CHECKING:
    from dmun_audit.discover.attack import AttackResult
    from dmun_audit.discover.trials import PromptTrials


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("attack", help="search for prompts that bring the target back on a candidate")
    discovery_tools.add_to(parser)
    parser.add_argument("--model", required=True, metavar="REF", help="candidate: the model after unlearning")
    parser.add_argument("--base", metavar="REF", help="model before unlearning (default: as in an audit)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of proposals (default: 3)")
    parser.add_argument("--proposals", type=int, default=8, metavar="N", help="prompts a round (default: 8)")
    language_model_options.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Attack the candidate and write the dossier with the prompts found at its front."""
    language_model_options.require_new_file(arguments.output, arguments.force)
    language_model_options.require_at_least(arguments, "rounds", 1)
    language_model_options.require_at_least(arguments, "proposals", 1)
    with discovery_tools.open_tools(arguments, arguments.model, arguments.output) as tools:
        from dmun_audit.discover.attack import attack, attack_budget
        from dmun_audit.discover.trials import PromptTrials

        budget = attack_budget(tools.observations, arguments.rounds, arguments.proposals)
        discovery_tools.announce_budget(arguments, budget)
        discovery_tools.announce_questions(arguments, tools, expected_attack(arguments.rounds, arguments.proposals))
        trials = PromptTrials(tools.observations, budget)
        progress = language_model_options.print_progress
        result = attack(trials, tools.interviewer, tools.counter, arguments.rounds, arguments.proposals, progress)
    write_dossier(result.dossier, arguments.output)
    _print_prompts(result, trials)
    _print_summary(result, trials, str(arguments.output))
    return 0


def _print_prompts(result: AttackResult, trials: PromptTrials) -> None:
    """Each prompt that brought the target back, with its best image."""
    name = result.dossier.target.name
    confirmed, unconfirmed = f"brings {name} back, again on fresh seeds", "did so once only"
    for outcome, found in ((confirmed, result.confirmed), (unconfirmed, result.unconfirmed)):
        for prompt, fresh in [(trial.prompt, trial.fresh) for trial in found if trial.fresh]:
            print(f"  {fresh.hits} of {fresh.images}  {prompt.text}  ({prompt.strategy}; {outcome})")
            print(f"          best {fresh.best:.2f}: {trials.image_path(fresh)}")


def _print_summary(result: AttackResult, trials: PromptTrials, output: str) -> None:
    count = len(result.confirmed)
    prompts = "1 prompt brings" if count == 1 else f"{count or 'no'} prompts bring"
    tried = f"{len(result.trials)} tried, {result.valid} work on base, {len(result.unconfirmed)} brought it back once only"
    images = f"{result.images:,} of {trials.budget:,} images, {trials.rendered:,} of them rendered now"
    print(f"{output}: {prompts} {result.dossier.target.name} back ({tried}; {images})")
    if result.confirmed:
        print("Look at the images: the judge guides the attack, so it finds the judge's mistakes as well as leaks.")
    if not result.valid:
        print("No prompt works on the base model either: this says nothing about the candidate. Refine the dossier first.")
    elif not result.confirmed:
        print("This does not prove that no such prompt exists: these prompts found none within this budget.")
