"""The YAML head of a model card (README.md of a model's folder), read with huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def card_metadata(card: Path) -> dict[str, Any]:
    """The fields of the card's YAML head; {} where there is no card, no head, or none that can be read."""
    if not card.is_file():
        return {}
    import yaml
    from huggingface_hub import metadata_load  # late: these imports take longer than all others of a reference together

    try:
        return metadata_load(card) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # people write cards; a broken one says nothing
        return {}


def card_base(card: Path) -> str | None:
    """The card's `base_model`, or the first one of a list; None where it names none. Nothing is fetched."""
    base = card_metadata(card).get("base_model")
    if isinstance(base, list):
        base = next(iter(base), None)
    return base.strip() or None if isinstance(base, str) else None
