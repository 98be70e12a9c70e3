"""`dmun-audit dossier order`: language models order the concepts of an existing dossier, such as a pack."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.cli.dossier import language_model_options, vlm_ordering
from dmun_audit.cli.dossier.idle_options import remark_on_idle_options
from dmun_audit.cli.dossier.language_model_options import print_progress, require_answering, with_preflight
from dmun_audit.cli.dossier.ordering_models import OrderingModel, ordering_models
from dmun_audit.knowledge.dossier import Dossier, write_dossier
from dmun_audit.knowledge.interview.expected_questions import expected_ordering
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.orderings import SourceKey, key_of
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.models.references import ModelReference

if TYPE_CHECKING:
    from dmun_audit.render.engine import Engine

Failure = tuple[OrderingModel, UsageError]


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "order", help="let language models order a dossier's concepts, to test which ordering predicts damage"
    )
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="path of the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.add_argument("--base", metavar="REF", help="model before unlearning, which renders the images for --vlm")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="write nothing if one of the models gives no ordering (default: write those that came, exit 1)",
    )
    vlm_ordering.add_to(parser, several=True)
    language_model_options.add_to(parser, required=False, several=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Add the orderings to the dossier. Returns 1 if a model gave none and the others' orderings were written."""
    output: Path = arguments.output
    language_model_options.require_new_file(output, arguments.force)
    language_model_options.require_at_least(arguments, "repeats", 1)
    if not (arguments.llm or arguments.vlm):
        raise UsageError("neither --llm nor --vlm is given", "one of them must order the concepts", "add one, or both")
    base = vlm_ordering.base_reference(arguments)
    models = ordering_models(arguments, output)
    dossier = open_knowledge(arguments.dossier)
    require_allowed(dossier.target.name, dossier.target.kind, arguments.allow_sensitive)
    remark_on_idle_options(arguments, [model.access.reference for model in models])
    ordered, failures = _ordered(arguments, dossier, models, base)
    if failures and (arguments.strict or len(failures) == len(models)):
        raise _nothing_written(failures, len(models))
    write_dossier(ordered, output)
    for sentence in ordered.provenance.history:
        print_progress(sentence)
    for model, error in failures:
        print_progress(f"WARNING: no ordering by {model.named}: {error.in_a_line}")
    if failures:
        print_progress("The same command with --force asks again; answers that came are not asked twice.")
    print(f"{output}: ordered by {', '.join(f'{ordering.source} {ordering.model}' for ordering in ordered.orderings)}")
    return 1 if failures else 0


def _ordered(
    arguments: argparse.Namespace, dossier: Dossier, models: Sequence[OrderingModel], base: ModelReference | None
) -> tuple[Dossier, list[Failure]]:
    """The dossier with the orderings of the models that gave one, and the others with the reason. A model does not stop the next."""
    shown = any(model.option == "vlm" for model in models)
    engine = vlm_ordering.open_engine(arguments, dossier, base) if shown and base else None  # its errors come before any question
    failures: list[Failure] = []
    given: set[SourceKey] = set()
    for model in models:
        if model.option == "vlm" and len(models) > 1:  # one that cannot answer is told before another is asked for hours
            try:
                require_answering(arguments, model.access)
            except UsageError as error:
                failures.append((model, error))
    failed = [model for model, _ in failures]
    for model in models:
        if model in failed:
            continue
        try:
            ordered = _ordered_by(arguments, model, dossier, engine)
            key = key_of(ordered.orderings[-1])
            if key in given:  # by two transcripts
                raise UsageError(f"{key[1]} has ordered the concepts already", "a dossier holds one ordering of each model")
            dossier = ordered
            given.add(key)
        except StoreError:  # the disk is full: the next model could keep no answer either
            raise
        except UsageError as error:
            failures.append((model, error))
    return dossier, failures


def _ordered_by(arguments: argparse.Namespace, model: OrderingModel, dossier: Dossier, engine: Engine | None) -> Dossier:
    from dmun_audit.discover.ordering import order_by_knowledge

    if model.option == "vlm" and engine:
        return vlm_ordering.ordered_by_images(arguments, dossier, engine, model.access)
    access = with_preflight(arguments, model.access, expected_ordering(arguments.repeats, len(dossier.concepts)))
    with access.open_transcript() as transcript:
        interviewer = Interviewer(transcript, access.temperature, access.seed, print_progress)
        return order_by_knowledge(dossier, interviewer, arguments.repeats)


def _nothing_written(failures: Sequence[Failure], models: int) -> UsageError:
    if models == 1:
        return failures[0][1]
    return UsageError(
        f"no ordering by {len(failures)} of {models} models, so nothing is written",
        "; ".join(f"{model.named}: {error.in_a_line}" for model, error in failures),
        "mend or leave out these models; answers that came are kept and are not asked again",
    )
