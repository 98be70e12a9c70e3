"""`dmun-audit dossier attack`: a language model looks for prompts that bring the target back on a candidate."""

from __future__ import annotations

import argparse
from typing import Any

from dmun_audit.cli.dossier import asking, discovering
from dmun_audit.knowledge.dossier import write_dossier


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("attack", help="look for prompts that bring the target back on a candidate")
    discovering.add_to(parser)
    parser.add_argument("--model", required=True, metavar="REF", help="candidate")
    parser.add_argument("--base", metavar="REF", help="model before unlearning (default: as in an audit)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that the language model is asked (default: 3)")
    parser.add_argument("--proposals", type=int, default=8, metavar="N", help="prompts a round (default: 8)")
    asking.add_to(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Attack the candidate; the new dossier holds what was found in front."""
    asking.require_new_file(asked.output, asked.force)
    asking.require_at_least(asked, "rounds", 1)
    asking.require_at_least(asked, "proposals", 1)
    with discovering.opened(asked, asked.model, asked.output) as tools:
        from dmun_audit.discover.attack import attack, attack_budget
        from dmun_audit.discover.trials import PromptTrials

        budget = attack_budget(tools.audit, asked.rounds, asked.proposals)
        discovering.state_budget(asked, budget)
        bench = PromptTrials(tools.audit, budget)
        found = attack(bench, tools.interviewer, tools.counter, asked.rounds, asked.proposals, asking.tell)
    write_dossier(found.dossier, asked.output)
    name = found.dossier.target.name
    for heading, trials in ((f"brings {name} back, again on fresh seeds", found.winners), ("did so once only", found.once)):
        for prompt, again in [(trial.prompt, trial.again) for trial in trials if trial.again]:
            print(f"  {again.hits} of {again.images}  {prompt.text}  ({prompt.strategy}; {heading})")
            print(f"          best {again.best:.2f}: {bench.picture(again)}")
    what = "1 prompt brings" if len(found.winners) == 1 else f"{len(found.winners) or 'no'} prompts bring"
    tried = f"{len(found.trials)} tried, {found.valid} work on base, {len(found.once)} brought it back once only"
    print(
        f"{asked.output}: {what} {name} back ({tried}; {found.images:,} of {budget:,} images, {bench.drawn:,} of them drawn now)"
    )
    if found.winners:
        print("Look at the pictures: an attack that is guided by the judge finds the judge's mistakes as well as leaks.")
    if not found.valid:
        print("No prompt works on the base model either: this says nothing of the candidate. Refine the dossier first.")
    elif not found.winners:
        print("That is no proof that none exists: it is what these prompts found within this budget.")
    return 0
