"""JSON Schemas as servers accept them, and whether an answer has a schema's form. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dmun_audit.knowledge.words.reasoning import without_reasoning

_FENCED = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)  # llama.cpp's grammar allows a fence around the JSON
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def keywords(schema: Any) -> set[str]:
    """The keywords that a schema uses at any depth; names of properties are none."""
    return {name for part in _subschemas(schema) for name in part} - {"type", "properties", "items"}


def without_keywords(schema: Any, left_out: Collection[str]) -> Any:
    """The schema without some keywords at any depth. Without `$defs` or `$ref`, definitions stand where they are used."""
    definitions = schema.get("$defs", {}) if isinstance(schema, Mapping) and {"$defs", "$ref"} & set(left_out) else {}
    return _without(schema, frozenset(left_out), definitions, 0)


def _without(schema: Any, left_out: frozenset[str], definitions: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    if definitions and "$ref" in schema and depth < 20:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name in left_out or (definitions and name == "$defs"):
            continue
        if name == "properties":
            made[name] = {key: _without(part, left_out, definitions, depth + 1) for key, part in value.items()}
        elif isinstance(value, list):
            made[name] = [_without(part, left_out, definitions, depth + 1) for part in value]
        else:
            made[name] = _without(value, left_out, definitions, depth + 1)
    return made


def _subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        yield schema
        for name, value in schema.items():
            parts = value.values() if name in {"properties", "$defs"} and isinstance(value, Mapping) else [value]
            for part in parts:
                yield from _subschemas(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _subschemas(part)


def fits(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether `text` is JSON with the types, the required names and no other names than `schema` has.

    What a reasoning model thought before does not count. Lengths, patterns and ranges are not checked.
    """
    return any(_is_json_that_fits(each, schema) for each in (text, without_reasoning(text)))


def _is_json_that_fits(text: str, schema: Mapping[str, Any]) -> bool:
    try:
        return _fits(json.loads(_FENCED.sub(r"\1", text)), schema)
    except (ValueError, RecursionError):
        return False


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    types = _TYPES.get(str(schema.get("type")), (object,))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        return False
    if isinstance(value, list):
        return all(_fits(part, schema.get("items", {})) for part in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        complete = set(schema.get("required", [])) <= set(value)
        closed = schema.get("additionalProperties", True) is not False or set(value) <= set(known)
        return complete and closed and all(_fits(part, known.get(name, {})) for name, part in value.items())
    return True
