"""Policies that follow the machinery in a moment and are too coarse to judge anything."""

import re
from pathlib import Path

SMOKE = Path(__file__).parent.parent / "dmun_audit" / "policy" / "built_in" / "smoke.toml"
FEW_IMAGES = {
    "steps": 1, "batch": 4, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 1, "prompts": 4,
    "images": 8, "concepts": 4, "pairs": 2, "sensitivity_floor": 0.01, "false_positive_ceiling": 0.99,
}  # fmt: skip
"""Figures of an audit of few images in small batches, whose controls let nearly anything pass."""


def coarse_policy(path, **figures):
    """Write the smoke policy with other `figures` (key → number; a key of several sections changes in all) to `path`."""
    text = SMOKE.read_text()
    for name, value in figures.items():
        text, found = re.subn(rf"^{name} = [\d.]+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found
    path.write_text(text)
    return path
