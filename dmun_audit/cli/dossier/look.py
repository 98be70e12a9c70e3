"""The part of `dossier build` that shows images to a vision-language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from dmun_audit.cli.dossier import asking, discovering
from dmun_audit.knowledge.build import Asking
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.references import ModelReference


def look(asked: argparse.Namespace, base: ModelReference, output: Path) -> Dossier:
    """The dossier at `output` with the ordering of the vision-language model that `--vlm` names."""
    kept = output.with_name(output.name.removesuffix(".json") + ".vlm.transcript.jsonl")
    named = Asking(parse_language_model(asked.vlm), kept, asking.settings(asked), asked.temperature, asked.seed)
    inner = argparse.Namespace(**vars(asked) | {"dossier": output, "base": base.text})
    with discovering.opened(inner, base.text, output, named) as tools:
        from dmun_audit.discover import Bench, looking_budget, order_by_looking

        budget = looking_budget(tools.audit)
        asking.tell(f"up to {budget:,} images of {base.text} are drawn for the vision-language model")
        return order_by_looking(Bench(tools.audit, budget), tools.interviewer)
