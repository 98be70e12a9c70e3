"""`dmun-audit dossier build`: interviews a language model about a target and freezes its answers in a dossier."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.cli.dossier import language_model_options, vlm_ordering
from dmun_audit.cli.dossier.language_model_options import language_model_access, print_progress, require_answering, with_preflight
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems, remarks
from dmun_audit.knowledge.dossier import Dossier, World, write_dossier
from dmun_audit.knowledge.interview.expected_questions import expected_interview
from dmun_audit.knowledge.interview.interview import InterviewTask
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.lengths import TokenCounter, counter_of
from dmun_audit.models.references import is_atelier


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("build", help="interview a language model about a target")
    parser.add_argument("target", help="name of the concept to be unlearned")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="path of the dossier (default: <target>.json)")
    parser.add_argument(
        "--base", metavar="REF", help="model before unlearning, whose tokenizer counts prompts (default: CLIP's, 77 tokens)"
    )
    vlm_ordering.add_to(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace an existing dossier; answers in its transcript are used again"
    )
    language_model_options.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build the dossier."""
    if not arguments.target.strip():
        raise UsageError("the target is empty", "perhaps a variable is not set", "name the concept")
    language_model_options.require_at_least(arguments, "repeats", 1)
    output = arguments.output or Path(f"{_file_name(arguments.target)}.json")
    language_model_options.require_new_file(output, arguments.force)
    base = vlm_ordering.base_reference(arguments)
    world: World = "atelier" if base and is_atelier(base) else "real"
    require_allowed(arguments.target, None, arguments.allow_sensitive)
    llm = language_model_access(arguments, output)
    vlm = require_answering(arguments, language_model_access(arguments, output, "vlm")) if arguments.vlm else None
    counter = counter_of(base)
    task = InterviewTask(arguments.target.strip(), world, counter, arguments.repeats, arguments.allow_sensitive)
    dossier = build_dossier(task, with_preflight(arguments, llm, expected_interview(arguments.repeats)), print_progress)
    if vlm and base:
        dossier = vlm_ordering.add_vlm_ordering(arguments, dossier, base, vlm)
    write_dossier(dossier, output)
    _print_summary(dossier, counter, output)
    return 0


def _print_summary(dossier: Dossier, counter: TokenCounter, output: Path) -> None:
    for sentence in dossier.provenance.history:
        print_progress(sentence)
    for line in [*problems(dossier, counter), *remarks(dossier)]:
        print_progress(f"remark: {line}")
    facts = dossier.provenance
    print(
        f"{output}: {len(dossier.concepts)} nearby concepts, {len(dossier.adversarial)} adversarial prompts, "
        f"{len(dossier.compositions)} compositions, from {facts.questions} answers ({facts.tokens_in or 0:,} tokens in, "
        f"{facts.tokens_out or 0:,} out) of {facts.model}"
    )
    print(f"Read it before you trust it:  dmun-audit dossier show {output}")


def _file_name(target: str) -> str:
    """A file name of ASCII characters, with a digest if the target has hardly any."""
    name = slug(target)
    return name if len(name) > 2 else f"{name}-{digest(target)[:8]}"
