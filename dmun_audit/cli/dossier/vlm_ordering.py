"""The part of `dossier build` and `dossier order` that shows images to a vision-language model."""

from __future__ import annotations

import argparse

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.cli.dossier.language_model_options import add_vlm_to, print_progress, with_preflight
from dmun_audit.config.options import default_store
from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.expected_questions import expected_looks
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.models.references import ModelReference, parse_reference
from dmun_audit.policy import load_policy


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of orderings."""
    parser.add_argument("--vlm", metavar="REF", help="vision-language model that orders the concepts by images of --base")
    parser.add_argument(
        "--policy", default="standard", help="policy whose sampler renders the images for --vlm (default: standard)"
    )
    parser.add_argument("--store", metavar="DIR", help="store of the images for --vlm (default: in the user's cache folder)")
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="number of ratings, and of rankings, by --llm (default: 3)"
    )
    add_vlm_to(parser)


def base_reference(arguments: argparse.Namespace) -> ModelReference | None:
    """The model that `--base` names, or None. Raises UsageError for `--vlm` without `--base`."""
    if arguments.vlm and not arguments.base:
        raise UsageError("--vlm needs --base", "the vision-language model sees images of the model before unlearning", "add it")
    return parse_reference(arguments.base) if arguments.base else None


def add_vlm_ordering(
    arguments: argparse.Namespace, dossier: Dossier, base: ModelReference, access: LanguageModelAccess
) -> Dossier:
    """The dossier with the ordering of a vision-language model, which sees images of `base`."""
    from dmun_audit.discover.ordering import IMAGES_SHOWN, image_ordering_budget, order_by_images
    from dmun_audit.runtime.loading import base_engine

    print_progress(f"the vision-language model needs {image_ordering_budget(dossier):,} images of {base.text}")
    store = expanded(arguments.store, f"--store={arguments.store}") if arguments.store else default_store()
    engine = base_engine(base, load_policy(arguments.policy).sampling, store)
    access = with_preflight(arguments, access, expected_looks(len(dossier.concepts), 2 * IMAGES_SHOWN), "vlm")
    with access.open_transcript() as transcript:
        return order_by_images(dossier, engine, Interviewer(transcript, access.temperature, access.seed, print_progress))
