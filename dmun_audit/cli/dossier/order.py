"""`dmun-audit dossier order`: language models order the concepts of a dossier that exists, a pack for instance."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier import asking, look
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.packs import open_knowledge


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "order", help="let language models order the concepts of a dossier: whose ordering foretells damage?"
    )
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.add_argument("--base", metavar="REF", help="model before unlearning, which draws for --vlm")
    look.add_to(parser)
    asking.add_to(parser, required=False)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Add the orderings to the dossier."""
    asking.require_new_file(asked.output, asked.force)
    asking.require_at_least(asked, "repeats", 1)
    if not (asked.llm or asked.vlm):
        raise UsageError("neither --llm nor --vlm is given", "nobody is there to order the concepts", "add one, or both")
    base = look.base_of(asked)
    named = asking.asking(asked, asked.output) if asked.llm else None
    seeing = asking.asking(asked, asked.output, "vlm") if asked.vlm else None
    dossier = open_knowledge(asked.dossier)
    require_allowed(dossier.target.name, dossier.target.kind, asked.allow_sensitive)
    if named:
        from dmun_audit.discover.ordering import order_by_asking

        with named.opened() as transcript:
            interviewer = Interviewer(transcript, named.temperature, named.seed, asking.tell)
            dossier = order_by_asking(dossier, interviewer, asked.repeats)
    if seeing and base:
        dossier = look.look(asked, dossier, base, seeing)
    write_dossier(dossier, asked.output)
    for line in dossier.provenance.history:
        asking.tell(line)
    print(f"{asked.output}: ordered by {', '.join(f'{known.source} {known.model}' for known in dossier.orderings)}")
    return 0
