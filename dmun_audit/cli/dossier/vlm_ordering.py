"""The part of `dossier build` and `dossier order` that shows images to a vision-language model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier.language_model_options import add_vlm_to, print_progress, with_preflight
from dmun_audit.config.options import store_named
from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.expected_questions import expected_looks
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.models.references import ModelReference, parse_reference
from dmun_audit.policy import load_policy

if TYPE_CHECKING:
    from dmun_audit.render.engine import Engine


def add_to(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the options of orderings; `--vlm` may be given `several` times or once."""
    more, action = ("; give it once for each model", "append") if several else ("", "store")
    parser.add_argument(
        "--vlm", metavar="REF", action=action, help=f"vision-language model that orders the concepts by images of --base{more}"
    )
    parser.add_argument(
        "--policy", default="standard", help="policy whose sampler renders the images for --vlm (default: standard)"
    )
    parser.add_argument("--store", metavar="DIR", help="store of the images for --vlm (default: in the user's cache folder)")
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="number of ratings, and of rankings, by --llm (default: 3)"
    )
    add_vlm_to(parser)


def base_reference(arguments: argparse.Namespace) -> ModelReference | None:
    """The model that `--base` names, or None. Raises UsageError for `--vlm` without `--base`, or with a policy that there is not."""
    if arguments.vlm and not arguments.base:
        raise UsageError("--vlm needs --base", "the vision-language model sees images of the model before unlearning", "add it")
    if arguments.vlm:
        load_policy(arguments.policy)  # read again for the images: an error in it comes before the first question
    return parse_reference(arguments.base) if arguments.base else None


def open_engine(arguments: argparse.Namespace, dossier: Dossier, base: ModelReference) -> Engine:
    """The engine that renders the images of `base` for vision-language models. Prints how many they need."""
    from dmun_audit.discover.ordering import image_ordering_budget
    from dmun_audit.runtime.loading import base_engine

    print_progress(f"the vision-language model needs {image_ordering_budget(dossier):,} images of {base.text}")
    return base_engine(base, load_policy(arguments.policy).sampling, store_named(arguments.store))


def ordered_by_images(arguments: argparse.Namespace, dossier: Dossier, engine: Engine, access: LanguageModelAccess) -> Dossier:
    """The dossier with the ordering of a vision-language model, which sees images of the base model of `engine`."""
    from dmun_audit.discover.ordering import IMAGES_SHOWN, order_by_images

    access = with_preflight(arguments, access, expected_looks(len(dossier.concepts), 2 * IMAGES_SHOWN), "vlm")

    with access.open_transcript() as transcript:
        return order_by_images(dossier, engine, Interviewer(transcript, access.temperature, access.seed, print_progress))
