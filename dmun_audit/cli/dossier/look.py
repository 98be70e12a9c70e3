"""The part of `dossier build` and `dossier order` that shows images to a vision-language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier import asking
from dmun_audit.config.resolve import default_store
from dmun_audit.knowledge.build import Asking
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.models.references import ModelReference, parse_reference
from dmun_audit.policy import load_policy


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of orderings."""
    parser.add_argument("--vlm", metavar="REF", help="vision-language model that orders the concepts by images of --base")
    parser.add_argument("--policy", default="standard", help="sampler of the images for --vlm (default: that of standard)")
    parser.add_argument("--store", metavar="DIR", help="store of the images for --vlm (default: in the user's cache folder)")
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="times that --llm is asked for similarity in each way (default: 3)"
    )


def base_of(asked: argparse.Namespace) -> ModelReference | None:
    """The model that `--base` names. Raises UsageError where `--vlm` has none to look at."""
    if asked.vlm and not asked.base:
        raise UsageError(
            "--vlm needs --base", "the vision-language model looks at images of the model before unlearning", "add it"
        )
    return parse_reference(asked.base) if asked.base else None


def look(asked: argparse.Namespace, dossier: Dossier, base: ModelReference, seeing: Asking) -> Dossier:
    """The dossier with the ordering of the vision-language model behind `seeing`, which sees images of `base`."""
    from dmun_audit.discover.ordering import looking_budget, order_by_looking
    from dmun_audit.runtime.loading import base_engine

    asking.tell(f"{looking_budget(dossier):,} images of {base.text} are drawn for the vision-language model")
    store = Path(asked.store).expanduser() if asked.store else default_store()
    engine = base_engine(base, load_policy(asked.policy).sampling, store)
    with seeing.opened() as transcript:
        return order_by_looking(dossier, engine, Interviewer(transcript, seeing.temperature, seeing.seed, asking.tell))
