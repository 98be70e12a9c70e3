"""`dmun-audit dossier add-finds`: prompts that attacks with the weights found become adversarial prompts of a dossier."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.paths import expanded
from dmun_audit.cli.dossier.language_model_options import require_new_file
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.packs import open_knowledge

SHOWN = 8


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("add-finds", help="add the prompts that attacks with the weights found in finished audits")
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder of an audit of this target")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="path of the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the dossier with the found prompts at its front."""
    from dmun_audit.config.regressions import run_with_attacks
    from dmun_audit.discover.found_prompts import with_found_prompts

    require_new_file(arguments.output, arguments.force)
    dossier = open_knowledge(arguments.dossier)
    runs = [run_with_attacks(expanded(text, text), text, dossier) for text in arguments.runs]
    added = with_found_prompts(dossier, runs)
    write_dossier(added.dossier, arguments.output)
    for prompt in added.prompts[:SHOWN]:
        print(f"  {prompt.text}\n      {prompt.note}")
    if len(added.prompts) > SHOWN:
        print(f"  and {len(added.prompts) - SHOWN} more")
    count = len(added.prompts)
    print(
        f"{arguments.output}: {count} adversarial {'prompt' if count == 1 else 'prompts'} added to {len(added.dossier.adversarial) - count}"
    )
    if added.unprintable:
        print(f"{added.unprintable} could not be printed as text and stay out: --regress tries the finds themselves.")
    return 0
