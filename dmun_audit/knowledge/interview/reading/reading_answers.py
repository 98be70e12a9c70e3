"""Reads the items of an answer, also where it does not keep to its schema, and says how it deviates. Pure functions of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from pydantic import BaseModel

from dmun_audit.knowledge.interview.answers import Item
from dmun_audit.knowledge.interview.reading.json_in_text import listed_lines, runs_in, strings_in, whole_value
from dmun_audit.knowledge.interview.reading.near_items import Deviation, name_of, near_item, only_field
from dmun_audit.knowledge.interview.reading.rating_scale import scale_of, to_hundred
from dmun_audit.knowledge.words.reasoning import without_reasoning
from dmun_audit.knowledge.words.refusals import is_refusal, is_refusal_in_prose

MOST_ITEMS = 400  # read of one answer
_DEEPEST_WRAPPING = 4
NO_LIST = "There is no JSON object with a list `items` in the answer."
REFUSED = "The answer is a refusal."
_NONE: frozenset[Deviation] = frozenset()
_FORM: frozenset[Deviation] = frozenset({"form"})
_SYNTAX: frozenset[Deviation] = frozenset({"syntax"})
_EXTRA_KEYS: frozenset[Deviation] = frozenset({"extra keys"})
_CUT_OFF: frozenset[Deviation] = frozenset({"cut off"})


@dataclass(frozen=True)
class Reading(Generic[Item]):
    """What an answer says.

    `problems` are about the items that are not valid, `deviations` about the form of the valid ones. `refused`: the answer refuses
    and gives no valid item. `scale`: the top of the scale of its ratings. `text`: the answer without what the model thought before.
    """

    items: list[Item]
    problems: list[str]
    deviations: frozenset[Deviation] = field(default=frozenset())
    refused: bool = False
    scale: int = 100
    text: str = ""


def read_answer(text: str, item_type: type[Item], *, cut_off: bool = False, scale: int = 100) -> Reading[Item]:
    """The items of an answer. `scale` is that of earlier ratings of the same model; a few later ones may not show it again.

    Of several drafts the last with a valid item counts. JSON is found in prose and code fences too. Never raises.
    """
    try:
        value = whole_value(text)
    except ValueError:
        return _read_text(without_reasoning(text), item_type, cut_off=cut_off, scale=scale)
    if isinstance(value, str):  # JSON as a JSON string
        reading = _read_text(value, item_type, cut_off=cut_off, scale=scale)
        return replace(reading, deviations=reading.deviations | _FORM) if reading.items else reading
    reading = _read_run([value], item_type, _NONE, scale)
    if not reading.items and (reading.refused or _refuses(value)):
        return Reading([], [REFUSED], refused=True, text=text)
    return replace(reading, text=text)


def _read_text(text: str, item_type: type[Item], *, cut_off: bool, scale: int) -> Reading[Item]:
    found: list[tuple[bool, Reading[Item]]] = []  # whether the run holds objects, and what it says
    for run in runs_in(text):
        deviations = _CUT_OFF if cut_off else _SYNTAX if run.repaired or run.in_broken_list else _NONE
        reading = _read_run(run.values, item_type, deviations, scale, in_list=run.in_broken_list)
        found.append((any(isinstance(value, dict) for value in run.values), reading))
    usable = [reading for of_objects in (False, True) for holds, reading in found if holds == of_objects and reading.items]
    if not usable and (lines := _plain_list(text, item_type, cut_off=cut_off)) is not None and lines.items:
        usable = [lines]
    if usable:
        return replace(usable[-1], text=text)
    refused = (not found and is_refusal_in_prose(text)) or is_refusal(text) or any(reading.refused for _, reading in found)
    listed = [reading for holds, reading in found if holds or not reading.problems]
    if refused or not listed:
        return Reading([], [REFUSED if refused else NO_LIST], refused=refused, text=text)
    return replace(listed[-1], text=text)


def _plain_list(text: str, item_type: type[Item], *, cut_off: bool) -> Reading[Item] | None:
    if only_field(item_type) != "prompt":
        return None
    return _read_items(listed_lines(text, cut_off=cut_off), item_type, _FORM, 100)


def _read_run(
    values: Sequence[Any], item_type: type[Item], deviations: frozenset[Deviation], scale: int, *, in_list: bool = False
) -> Reading[Item]:
    """The items in a run of values: one envelope, or envelopes, lists and items in a row."""
    raw: list[Any] = []
    wrapped = False
    for value in values:
        listed, as_asked = _listed(value, item_type, 0)
        wrapped = wrapped or not as_asked
        raw += listed or []
        if listed is None and len(values) > 1:
            raw.append(value)  # one faulty item among others
        elif listed is None:
            return Reading([], [NO_LIST], refused=_refuses(list(values)))
        if isinstance(value, dict) and len(value) > 1 and "items" in value:
            deviations = deviations | _EXTRA_KEYS
    form = _FORM if (wrapped or len(values) > 1) and not in_list else _NONE
    return _read_items(raw[:MOST_ITEMS], item_type, deviations | form, scale)


def _listed(value: Any, item_type: type[BaseModel], depth: int) -> tuple[list[Any] | None, bool]:
    """The values in `value` that stand for items or None, and whether they come in the form asked for."""
    if depth > _DEEPEST_WRAPPING:
        return None, False
    if isinstance(value, str) and depth and value.lstrip()[:1] in ("[", "{"):
        try:
            return _listed(whole_value(value), item_type, depth + 1)[0], False
        except ValueError:
            return None, False
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and any(key.casefold() == "items" for key in value[0]):
            return _listed(value[0], item_type, depth + 1)[0], False
        return value, False
    if not isinstance(value, dict):
        return None, False
    for key, inner in value.items():
        if key.strip().casefold() == "items":
            if isinstance(inner, list):
                return inner, key == "items" and depth == 0
            return ([] if inner is None else _listed(inner, item_type, depth + 1)[0]), False
    if near_item(value, item_type)[0] is not None or _shares_fields(value, item_type):
        return [value], False
    if value and all(key.strip(" #.").isdigit() for key in value):
        return _numbered(value, item_type), False
    inside = [inner for inner in value.values() if isinstance(inner, dict | list)]
    if len(inside) == 1 and "properties" not in value:
        return _listed(inside[0], item_type, depth + 1)[0], False
    return None, False


def _numbered(value: Mapping[str, Any], item_type: type[BaseModel]) -> list[Any]:
    """The items of an object whose keys are their numbers."""
    if set(item_type.model_fields) == {"number", "rating"} and not any(
        isinstance(inner, dict | list) for inner in value.values()
    ):
        return [{"number": int(key.strip(" #.")), "rating": inner} for key, inner in value.items()]
    return list(value.values())


def _read_items(raw: Sequence[Any], item_type: type[Item], form: frozenset[Deviation], scale: int) -> Reading[Item]:
    deviations: set[Deviation] = set()
    if "rating" in item_type.model_fields:
        raw, scale, changed = _on_hundred(raw, scale)
        deviations |= changed
    items: list[Item] = []
    problems: list[str] = []
    refused = False
    for number, value in enumerate(raw, start=1):
        item, problem, of_item = near_item(value, item_type)
        if _refuses(value):
            refused = True
            problems.append(f"Item {number} is a refusal.")
        elif item is None:
            problems.append(f"Item {number} is not valid: {problem}.")
        else:
            items.append(item)
            deviations |= of_item
    return Reading(items, problems, frozenset(deviations | form) if items else frozenset(), refused and not items, scale=scale)


def _on_hundred(raw: Sequence[Any], scale: int) -> tuple[list[Any], int, set[Deviation]]:
    """The values with their ratings from 0 to 100, the scale that they were on, and how they deviate."""
    ratings = [_rating_in(value) for value in raw]
    found = scale_of(ratings)
    scale = scale if found in (0, 100) and scale != 100 and _may_be_on(ratings, scale) else found
    read = [to_hundred(rating, scale) for rating in ratings]
    converted = [_with_rating(value, rating) for value, rating in zip(raw, read, strict=True)]
    changed = any(new is not old for new, old in zip(read, ratings, strict=True))
    deviations: set[Deviation] = set() if not changed else {"scale"} if scale in (1, 10) else {"values"}
    return converted, scale or 100, deviations


def _rating_in(value: Any) -> Any:
    """The rating in a value that stands for an item: in an object, or the value itself."""
    if isinstance(value, dict):
        return next((rating for key, rating in value.items() if name_of(key) == "rating"), None)
    return value


def _with_rating(value: Any, rating: Any) -> Any:
    return (
        {key: rating if name_of(key) == "rating" else part for key, part in value.items()} if isinstance(value, dict) else rating
    )


def _may_be_on(ratings: Sequence[Any], scale: int) -> bool:
    return all(to_hundred(rating, scale) is not rating or rating == 0 for rating in ratings)


def _shares_fields(value: Mapping[str, Any], item_type: type[BaseModel]) -> bool:
    """Whether an object has most fields of an item, though it is not a valid one."""
    return 2 * len({name_of(key) for key in value} & set(item_type.model_fields)) > len(item_type.model_fields)


def _refuses(value: Any) -> bool:
    """Whether a string in a JSON value is a refusal."""
    try:
        return any(map(is_refusal, strings_in(value)[:MOST_ITEMS]))
    except RecursionError:
        return False
