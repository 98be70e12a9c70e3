"""The part of `dossier build` that shows images to a vision-language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from dmun_audit.cli.dossier import asking, discovering
from dmun_audit.knowledge.build import Asking
from dmun_audit.knowledge.dossier import Dossier, write_dossier
from dmun_audit.references import ModelReference


def look(asked: argparse.Namespace, dossier: Dossier, base: ModelReference, seeing: Asking, output: Path) -> Dossier:
    """The dossier with the ordering of the vision-language model behind `seeing`, which sees images of `base`."""
    draft = output.with_name(f".{output.name}.draft")
    write_dossier(dossier, draft)
    try:
        inner = argparse.Namespace(**vars(asked) | {"dossier": draft, "base": base.text})
        with discovering.opened(inner, base.text, output, seeing) as tools:
            from dmun_audit.discover.bench import Bench
            from dmun_audit.discover.looking import looking_budget, order_by_looking

            budget = looking_budget(tools.audit)
            asking.tell(f"up to {budget:,} images of {base.text} are drawn for the vision-language model")
            return order_by_looking(Bench(tools.audit, budget), tools.interviewer)
    finally:
        draft.unlink(missing_ok=True)
