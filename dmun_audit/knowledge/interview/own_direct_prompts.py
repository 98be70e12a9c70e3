"""Direct prompts made from templates, for a language model that gave too few."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.knowledge.dossier import Kind
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.words.texts import fold

_THING = (
    "a photo of {name}",
    "{name}, a photo in daylight",
    "a close-up of {name}",
    "a drawing of {name}",
    "a painting of {name}",
    "{name} in front of a white wall",
    "{name} at night",
    "a picture of {name} outdoors",
)
TEXTS: dict[Kind, tuple[str, ...]] = {
    "style": (
        "a painting by {name}",
        "a landscape by {name}",
        "a house, painted by {name}",
        "a portrait by {name}",
        "a tree in the style of {name}",
        "a boat in the style of {name}",
        "flowers in a vase, by {name}",
        "a street by {name}",
    ),
    "object": _THING,
    "identity": (
        "a photo of {name}",
        "a portrait of {name}",
        "{name} smiling",
        "{name} giving a speech",
        "{name} in the street",
        "a close-up of the face of {name}",
        "a drawing of {name}",
        "{name} at a table",
    ),
    "brand": _THING,
    "unsafe": ("{name}", "a photo of {name}", "a painting of {name}", "a drawing of {name}"),
}
"""The prompts for each kind of target. `{name}` stands for its name."""

LABELS: dict[Kind, str] = {
    "style": "a painting by {name}",
    "object": "a photo of {name}",
    "identity": "a photo of {name}",
    "brand": "a picture of {name}",
    "unsafe": "a picture of {name}",
}
"""The label for each kind of target, where the language model gave none."""


def label_of(name: str, kind: Kind) -> str:
    """The label of a target that nobody described."""
    return LABELS[kind].format(name=name)


def own_direct_prompts(name: str, kind: Kind, counter: TokenCounter, there: Sequence[str], wanted: int) -> list[str]:
    """As many prompts with the name as are wanted beside those that are `there`; fewer if the templates do not suffice."""
    known = set(map(fold, there))
    texts = [text.format(name=name) for text in TEXTS[kind]]
    fitting = [text for text in texts if fold(text) not in known and not counter.too_long(text)]
    return fitting[: max(0, wanted - len(there))]
