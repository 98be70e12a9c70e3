"""The part of `dossier check` that draws images: which prompts work on the base model."""

from __future__ import annotations

import argparse

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier import discovery_tools
from dmun_audit.config.options import Options
from dmun_audit.knowledge.dossier import Dossier


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of images."""
    group = parser.add_argument_group("images", "Without --images nothing is drawn.")
    group.add_argument(
        "--images", action="store_true", help="draw images of every prompt with --base and list the prompts that do not work"
    )
    group.add_argument("--policy", default="standard", help="policy of --images: sampler and images a prompt (default: standard)")
    group.add_argument("--judge", metavar="REF", help="judge of --images, as in an audit")
    group.add_argument("--store", metavar="DIR", help="store of the images (default: in the user's cache folder)")
    group.add_argument("--max-images", type=int, metavar="N", help="do not start if more than N images could be needed")
    group.add_argument("--allow-sensitive", action="store_true", help="allow --images of an unsafe target")


def require_base(arguments: argparse.Namespace) -> None:
    """Raise UsageError for `--images` without `--base`."""
    if arguments.images and not arguments.base:
        raise UsageError("--images needs --base", "the model before unlearning draws the images", "add it, or omit --images")


def lines(arguments: argparse.Namespace, dossier: Dossier) -> list[str]:
    """How many prompts work on base, whether they suffice, and which do not work. Prints first how many images may be needed."""
    from dmun_audit.config.resolve import resolve
    from dmun_audit.discover.trials import PromptTrials
    from dmun_audit.discover.working_prompts import find_working_prompts, working_budget
    from dmun_audit.runtime.loading import open_runtime

    options = Options(
        model=arguments.base,
        base=arguments.base,
        knowledge=dossier,
        policy=arguments.policy,
        judge=arguments.judge,
        store=arguments.store,
        allow_sensitive=arguments.allow_sensitive,
    )
    config = resolve(options)
    observations = open_runtime([config], lambda count: None).observations(config)
    budget = working_budget(observations)
    discovery_tools.announce_budget(arguments, budget)
    trials = PromptTrials(observations, budget)
    found = find_working_prompts(trials)
    images = f"{found.images:,} images, {trials.rendered:,} of them rendered now"
    return [f"on {arguments.base}: {found.sentence} ({images})", found.verdict, *found.failing_lines]
