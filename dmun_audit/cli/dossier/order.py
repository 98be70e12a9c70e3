"""`dmun-audit dossier order`: language models order the concepts of an existing dossier, such as a pack."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier import language_model_options, vlm_ordering
from dmun_audit.cli.dossier.language_model_options import language_model_access, print_progress, require_answering, with_preflight
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.interview.expected_questions import expected_ordering
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.packs import open_knowledge


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "order", help="let language models order a dossier's concepts, to test which ordering predicts damage"
    )
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="path of the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.add_argument("--base", metavar="REF", help="model before unlearning, which renders the images for --vlm")
    vlm_ordering.add_to(parser)
    language_model_options.add_to(parser, required=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Add the orderings to the dossier."""
    output: Path = arguments.output
    language_model_options.require_new_file(output, arguments.force)
    language_model_options.require_at_least(arguments, "repeats", 1)
    if not (arguments.llm or arguments.vlm):
        raise UsageError("neither --llm nor --vlm is given", "one of them must order the concepts", "add one, or both")
    base = vlm_ordering.base_reference(arguments)
    llm = language_model_access(arguments, output) if arguments.llm else None
    vlm = require_answering(arguments, language_model_access(arguments, output, "vlm")) if arguments.vlm else None
    dossier = open_knowledge(arguments.dossier)
    require_allowed(dossier.target.name, dossier.target.kind, arguments.allow_sensitive)
    if llm:
        from dmun_audit.discover.ordering import order_by_knowledge

        llm = with_preflight(arguments, llm, expected_ordering(arguments.repeats, len(dossier.concepts)))
        with llm.open_transcript() as transcript:
            interviewer = Interviewer(transcript, llm.temperature, llm.seed, print_progress)
            dossier = order_by_knowledge(dossier, interviewer, arguments.repeats)
    if vlm and base:
        dossier = vlm_ordering.add_vlm_ordering(arguments, dossier, base, vlm)
    write_dossier(dossier, output)
    for sentence in dossier.provenance.history:
        print_progress(sentence)
    print(f"{output}: ordered by {', '.join(f'{ordering.source} {ordering.model}' for ordering in dossier.orderings)}")
    return 0
