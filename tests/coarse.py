"""Policies that follow the machinery in a moment and are too coarse to judge anything."""

import re
from pathlib import Path

SMOKE = Path(__file__).parent.parent / "dmun_audit" / "policy" / "built_in" / "smoke.toml"


def coarse_policy(path, **figures):
    """Write the smoke policy with other `figures` (key → number; a key of several sections changes in all) to `path`."""
    text = SMOKE.read_text()
    for name, value in figures.items():
        text, found = re.subn(rf"^{name} = [\d.]+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found
    path.write_text(text)
    return path
