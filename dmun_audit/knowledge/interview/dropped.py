"""Concepts that a model gave and that were dropped: how many, and for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

REPEATED_LABEL = "repeated a label"
TARGETS_LABEL = "had the target's label"
NAMES_TARGET = "named the target"
PLACEHOLDER = "held a placeholder"
NO_LABEL = "had a label that says only the medium"
GIVEN_TWICE = "given twice"
FEW_PROMPTS = "had too few prompts of their own that mention them"


@dataclass
class Dropped:
    """The reason for each dropped concept by its identity, the number given twice, and all that were named as other things.

    `named` holds the identities of concepts that the model does not take for the target: those to retain or to observe. `parts`
    holds those of concepts to erase: works, and kinds of the target.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    named: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)

    def sentence(self, kept: Collection[str]) -> str:
        """How many concepts were dropped for what, without those that were `kept` in the end; "" if none was dropped."""
        counts = Counter(reason for concept, reason in self.reasons.items() if concept not in kept)
        parts = [(number, reason) for reason, number in counts.items()]
        if self.repeated:
            parts.append((self.repeated, f"{'was' if self.repeated == 1 else 'were'} {GIVEN_TWICE}"))
        if not parts:
            return ""
        parts.sort(key=lambda part: (-part[0], part[1]))
        total = sum(number for number, _ in parts)
        listed = ", ".join(f"{number} {reason}" for number, reason in parts)
        return f"{total} {'concept was' if total == 1 else 'concepts were'} dropped: {listed}"
