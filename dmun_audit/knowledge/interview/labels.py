"""Labels of their own for concepts whose label repeats another one's: the model is asked again for these alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dmun_audit.knowledge.interview.answers import Label, Neighbour
from dmun_audit.knowledge.interview.interviewer import ItemRequest, Validated
from dmun_audit.knowledge.interview.panel import Collector
from dmun_audit.knowledge.words.placeholders import is_placeholder, says_only_the_medium
from dmun_audit.knowledge.words.texts import fold


class NumberedLabel(BaseModel):
    """A label for a numbered concept."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Relabelled")
    number: int = Field(ge=1, le=200)
    label: Label


def label_problem(label: str) -> str:
    """Why `label` tells no concept from another, or ""."""
    if is_placeholder(label):
        return f"the label {label!r} is a placeholder"
    return f"the label {label!r} says how a picture is made, and not what it shows" if says_only_the_medium(label) else ""


def relabelled(
    interviewer: Collector, values: dict[str, Any], concepts: Sequence[Neighbour], taken: Collection[str]
) -> list[Neighbour]:
    """Those of `concepts` for which the model finds a label that is not `taken`, with that label. One question."""
    if not concepts:
        return []
    folded = {fold(label) for label in taken}

    def validate(item: NumberedLabel) -> Validated[NumberedLabel]:
        if item.number > len(concepts):
            return None, f"There is no number {item.number}."
        problem = label_problem(item.label) or (f"The label {item.label!r} is taken." if fold(item.label) in folded else "")
        return (None, problem) if problem else (item, "")

    request = ItemRequest(
        template="labels",
        values={"target": values["target"], "kind": values["kind"], "listed": [each.name for each in concepts], "taken": taken},
        item_type=NumberedLabel,
        topic="labels of concepts near it",
        wanted=len(concepts),
        minimum=0,
        validate=validate,
        identity=lambda item: str(item.number),
    )
    found = {item.number: item.label for item in interviewer.collect([request])[0]}
    return [each.model_copy(update={"label": found[number]}) for number, each in enumerate(concepts, start=1) if number in found]
