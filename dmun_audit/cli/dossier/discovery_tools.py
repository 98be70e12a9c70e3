"""The options that `dossier refine` and `dossier attack` share, and the models, judge and language model that they open."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier.idle_options import remark_on_idle_options
from dmun_audit.cli.dossier.language_model_options import ask_preflight, language_model_access, print_progress
from dmun_audit.config.options import Options
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.language_models.preflight import QuestionPlan
from dmun_audit.knowledge.lengths import TokenCounter, counter_of
from dmun_audit.models.references import parse_reference

if TYPE_CHECKING:
    from dmun_audit.runtime.observations import AuditObservations


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of models, judge and output."""
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="path of the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.add_argument(
        "--policy", default="standard", help="sampler and images a prompt: smoke, standard, paper, release or a file"
    )
    parser.add_argument("--judge", metavar="REF", help="judge, as in an audit")
    parser.add_argument("--store", metavar="DIR", help="store of images (default: in the user's cache folder)")
    parser.add_argument("--audit-seed", type=int, metavar="N", help="seed from which all image seeds follow, as in an audit")
    parser.add_argument("--max-images", type=int, metavar="N", help="do not start if more than N images could be needed")


@dataclass(frozen=True)
class DiscoveryTools:
    """The images of open models with their judge, the language model's interviewer, and the base model's token counter."""

    observations: AuditObservations
    interviewer: Interviewer
    counter: TokenCounter


@contextmanager
def open_tools(arguments: argparse.Namespace, model: str, output: Path) -> Iterator[DiscoveryTools]:
    """Open the candidate `model`, its base, the judge and the language model; close them at the end."""
    from dmun_audit.config.resolve import resolve
    from dmun_audit.runtime.loading import open_runtime

    access = language_model_access(arguments, output)
    remark_on_idle_options(arguments, [access.reference])
    options = Options(
        model=model,
        base=arguments.base,
        knowledge=str(arguments.dossier),
        policy=arguments.policy,
        judge=arguments.judge,
        store=arguments.store,
        audit_seed=arguments.audit_seed,
        allow_sensitive=arguments.allow_sensitive,
    )
    config = resolve(options)
    with access.open_transcript() as transcript:
        observations = open_runtime([config], lambda count: None).observations(config)
        interviewer = Interviewer(transcript, access.temperature, access.seed, print_progress)
        yield DiscoveryTools(observations, interviewer, counter_of(parse_reference(config.base)))


def announce_budget(arguments: argparse.Namespace, budget: int) -> None:
    """Print the most images that could be needed. Raises UsageError if that is more than `--max-images`."""
    print(f"up to {budget:,} images will be judged; images in the store are not rendered again", flush=True)
    limit = arguments.max_images
    if limit is not None and budget > limit:
        raise UsageError(
            f"up to {budget:,} images could be needed",
            f"--max-images allows {limit:,}",
            "fewer --rounds, a smaller --policy, or a higher limit",
        )


def announce_questions(arguments: argparse.Namespace, tools: DiscoveryTools, plan: QuestionPlan) -> None:
    """Ask the language model the small question that measures it, and print what the questions of `plan` will take."""
    ask_preflight(arguments, tools.interviewer.transcript, plan)
    tools.interviewer.transcript.release()  # images are drawn first; the weights of a local model would take their memory
