"""Dossiers on disk that differ from a pack in a few names."""

import json
from pathlib import Path

PACKS = Path(__file__).parents[1] / "dmun_audit" / "knowledge" / "packs"


def write_dossier(path, pack, **changes):
    """Write a pack whose target has other names to `path`; returns the path as text."""
    knowledge = json.loads((PACKS / f"{pack}.json").read_text())
    knowledge["target"] |= changes
    path.write_text(json.dumps(knowledge))
    return str(path)
