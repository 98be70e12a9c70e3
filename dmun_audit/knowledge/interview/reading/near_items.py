"""Values that are nearly items: read as the items that they stand for, where that is sure, with the kind of the deviation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel, ValidationError

from dmun_audit.knowledge.interview.answers import Item
from dmun_audit.knowledge.words.texts import without_hidden_characters

Deviation = Literal["cut off", "form", "syntax", "extra keys", "keys", "values", "scale"]
LONGEST_PROBLEM = 200  # characters
_OTHER_KEYS = {
    "text": "prompt",
    "prompt_text": "prompt",
    "lang": "language",
    "language_code": "language",
    "score": "rating",
    "similarity": "rating",
    "index": "number",
    "id": "number",
    "no": "number",
}
_OTHER_VALUES: dict[str, dict[str, str]] = {  # as the questions define the values
    "kind": {
        "artist": "style",
        "painter": "style",
        "art style": "style",
        "artistic style": "style",
        "thing": "object",
        "animal": "object",
        "plant": "object",
        "place": "object",
        "building": "object",
        "person": "identity",
        "trademark": "brand",
        "fictional character": "brand",
        "nsfw": "unsafe",
    },
    "role": {
        "erased": "erase",
        "remove": "erase",
        "retained": "retain",
        "keep": "retain",
        "preserve": "retain",
        "observed": "observe",
    },
    "skill": {"spatial": "spatial relation", "spatial relations": "spatial relation", "count": "counting"},
}


def exact_item(value: Any, item_type: type[Item]) -> Item | None:
    """The item that `value` is, exactly as the schema says, or None."""
    try:
        return item_type.model_validate_json(json.dumps(value), strict=True)
    except (ValidationError, RecursionError, ValueError):
        return None


def near_item(value: Any, item_type: type[Item]) -> tuple[Item | None, str, set[Deviation]]:
    """The item that `value` stands for or None, the problem or "", and how it deviates from the schema."""
    if (item := exact_item(value, item_type)) is not None:
        return item, "", set()
    try:
        adapted, deviations = _adapted(value, item_type)
        item = item_type.model_validate_json(json.dumps(adapted))
    except RecursionError:
        return None, "nested too deep", set()
    except ValidationError as error:
        faults = error.errors()[:3]
        message = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in faults)
        return (
            None,
            shorten(without_hidden_characters(message), LONGEST_PROBLEM, placeholder="…"),
            set(),
        )  # it may quote the answer
    except ValueError:
        return None, "it holds a value that JSON cannot hold", set()
    return item, "", deviations or {"values"}


def only_field(item_type: type[BaseModel]) -> str:
    """The name of the only field of the items, or ""."""
    names = list(item_type.model_fields)
    return names[0] if len(names) == 1 else ""


def _adapted(value: Any, item_type: type[BaseModel]) -> tuple[Any, set[Deviation]]:
    """`value` with the keys and the kinds of values of the item type."""
    field = only_field(item_type)
    if field and isinstance(value, str | int) and not isinstance(value, bool):
        return {field: _value(value, field, item_type)}, {"form"}
    if not isinstance(value, dict):
        return value, set()
    if len(value) == 1 and isinstance(inner := next(iter(value.values())), dict) and not set(value) & set(item_type.model_fields):
        adapted, deviations = _adapted(inner, item_type)
        return adapted, deviations | {"form"}
    return _with_known_keys(value, item_type)


def _with_known_keys(value: Mapping[str, Any], item_type: type[BaseModel]) -> tuple[dict[str, Any], set[Deviation]]:
    deviations: set[Deviation] = set()
    adapted: dict[str, Any] = {}
    for exactly in (True, False):
        for key, part in value.items():
            name = key if exactly else name_of(key)
            if (key in item_type.model_fields) == exactly:
                if name not in item_type.model_fields or name in adapted:
                    deviations.add("extra keys")
                    continue
                if not exactly:
                    deviations.add("keys")
                adapted[name] = _value(part, name, item_type)
                if adapted[name] is not part:
                    deviations.add("values")
    return adapted, deviations


def name_of(key: str) -> str:
    """The field that a key means: "mayContainTarget" and "May contain target" mean may_contain_target."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip())
    name = re.sub(r"[\s\-]+", "_", snake).casefold()
    return _OTHER_KEYS.get(name, name)


def _value(value: Any, name: str, item_type: type[BaseModel]) -> Any:
    """`value` as the field `name` takes it; itself if nothing is sure."""
    annotation, metadata = item_type.model_fields[name].annotation, item_type.model_fields[name].metadata
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*metadata, *more]
    if get_origin(annotation) is tuple:
        return _as_list(value, next((limit.max_length for limit in metadata if isinstance(limit, MaxLen)), None))
    if get_origin(annotation) is Literal:
        return _as_choice(value, name, get_args(annotation))
    if annotation is int:
        return _as_whole_number(value)
    if name == "language" and isinstance(value, str):
        code = value.strip().replace("_", "-")
        head, dash, rest = code.partition("-")
        return value if value == (code := head.lower() + dash + rest) else code
    if name == "strategy" and isinstance(value, str) and value != value.strip().lower():
        return value.strip().lower()
    return value


def _as_list(value: Any, most: int | None) -> Any:
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    return value[:most] if isinstance(value, list) and most is not None and len(value) > most else value


def _as_choice(value: Any, name: str, choices: Sequence[str]) -> Any:
    if not isinstance(value, str) or value in choices:
        return value
    plain = " ".join(re.sub(r"[_\-]+", " ", value).casefold().split()).rstrip(".")
    chosen = _OTHER_VALUES.get(name, {}).get(plain, plain)
    return chosen if chosen in choices else value


def _as_whole_number(value: Any) -> Any:
    """A whole number in a string, such as "#3", "3." or "No. 3"; None for true and false, which are no numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and (
        found := re.fullmatch(r"\s*(?:#|no\.?|number|item)?\s*(\d{1,6})\s*[.):]?\s*", value, re.IGNORECASE)
    ):
        return int(found[1])
    return value
