"""`dmun-audit dossier build`: interviews a language model about a target and freezes what it says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.cli.dossier import asking, look
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems, remarks
from dmun_audit.knowledge.dossier import World, write_dossier
from dmun_audit.knowledge.interview.interview import Brief
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.lengths import counter_of
from dmun_audit.models.references import is_atelier


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("build", help="interview a language model about a target")
    parser.add_argument("target", help="the concept that is to be unlearned, by name")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="the dossier (default: <target>.json)")
    parser.add_argument("--base", metavar="REF", help="model before unlearning: its tokenizer counts (default: CLIP's 77 tokens)")
    look.add_to(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace an existing dossier (answers in its transcript are not asked for again)"
    )
    asking.add_to(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Build the dossier."""
    if not asked.target.strip():
        raise UsageError("the target is empty", "perhaps a variable is not set", "name the concept")
    asking.require_at_least(asked, "repeats", 1)
    output = asked.output or Path(f"{_file_name(asked.target)}.json")
    asking.require_new_file(output, asked.force)
    base = look.base_of(asked)
    world: World = "atelier" if base and is_atelier(base) else "real"
    require_allowed(asked.target, None, asked.allow_sensitive)
    named, seeing = asking.asking(asked, output), asking.asking(asked, output, "vlm") if asked.vlm else None
    brief = Brief(asked.target.strip(), world, counter_of(base), asked.repeats, asked.allow_sensitive)
    dossier = build_dossier(brief, named, asking.tell)
    if seeing and base:
        dossier = look.look(asked, dossier, base, seeing)
    write_dossier(dossier, output)
    for line in dossier.provenance.history:
        asking.tell(line)
    for line in [*problems(dossier, brief.counter), *remarks(dossier)]:
        asking.tell(f"remark: {line}")
    facts = dossier.provenance
    print(
        f"{output}: {len(dossier.concepts)} nearby concepts, {len(dossier.adversarial)} adversarial prompts, "
        f"{len(dossier.compositions)} compositions, from {facts.questions} answers ({facts.tokens_in or 0:,} tokens in, "
        f"{facts.tokens_out or 0:,} out) of {facts.model}"
    )
    print(f"Read it before you trust it:  dmun-audit dossier show {output}")
    return 0


def _file_name(target: str) -> str:
    """The target in ASCII; with a digest where little or nothing of it is left."""
    name = slug(target)
    return name if len(name) > 2 else f"{name}-{digest(target)[:8]}"
