"""Markdown tables of fields, from JSON Schemas and argparse: used by generate.py."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "nothing"}


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a pydantic model or a dataclass."""
    schema: dict[str, Any] = TypeAdapter(kind).json_schema()
    return schema


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def help_text(text: str) -> str:
    """A help text as Markdown: options as code, and no angle bracket that would be read as HTML."""
    return re.sub(r"(?<![\w`])(--[a-z][\w-]*)", r"`\1`", text).replace("%(default)s", "…").replace("<", "\\<")


def code(text: str) -> str:
    """`text` as code."""
    return f"`{text}`"


def sentence(text: str) -> str:
    """`text` with a capital at its start and a full stop at its end; nothing for nothing."""
    text = " ".join(text.split())
    if not text:
        return ""
    name = "_" in text.split()[0]
    return (text if name else text[0].upper() + text[1:]) + ("" if text[-1] in ".?!)" else ".")


def shown(value: Any) -> str:
    """A value of a policy as its file spells it; a dash for a key that is left out."""
    if value in (None, "", {}):
        return "–"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def schema_tables(schema: dict[str, Any], level: str) -> str:
    """A table for the object of `schema`, then one for each kind of object in it, each below a heading."""
    definitions = schema.get("$defs", {})
    text = [about(schema), object_table(schema, definitions)]
    for name in _objects(schema, definitions):
        text += [f"{level} {name}", about(definitions[name]), object_table(definitions[name], definitions)]
    return "\n\n".join(filter(None, text))


def _objects(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """The names of all objects within `schema`, in the order in which a reader meets them."""
    names: list[str] = []
    queue = [schema]
    while queue:
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(queue.pop(0)["properties"])):
            if name not in names and "properties" in definitions[name]:
                names.append(name)
                queue.append(definitions[name])
    return names


def about(schema: dict[str, Any]) -> str:
    return "\n\n".join(" ".join(part.split()) for part in schema.get("description", "").split("\n\n"))


def object_table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The fields of one object: name, kind of value, what it says."""
    required = set(schema.get("required", ()))
    described = any("description" in value for value in schema["properties"].values())
    rows = []
    for name, value in schema["properties"].items():
        kind = kind_of(value, definitions)
        kind = kind if name in required else f"{kind.removesuffix(' or nothing')}, optional"
        rows.append([code(name), kind, *([sentence(value.get("description", ""))] if described else [])])
    return table(["field", "value", *(["what it says"] if described else [])], rows)


def kind_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What values a schema takes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        definition = definitions[name]
        return f"[{name}](#{name.lower()})" if "properties" in definition else kind_of(definition, definitions)
    if "allOf" in schema:
        return kind_of(schema["allOf"][0], definitions)
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(member, definitions) for member in schema.get("anyOf") or schema["oneOf"]))
    if "enum" in schema or "const" in schema:
        values = [code(json.dumps(value, ensure_ascii=False)) for value in schema.get("enum", [schema.get("const")])]
        return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return "list of " + ", ".join(kind_of(item, definitions) for item in schema["prefixItems"])
        return "list of " + kind_of(schema.get("items", {}), definitions)
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"table of {kind_of(values, definitions)} by name" if isinstance(values, dict) else "JSON object"
    if schema.get("format") == "date":
        return "day, such as 2027-01-31"
    return WORDS.get(schema.get("type", ""), "any value") + _limits(schema)


def section_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The name of the object that a key holds, or may hold; empty for a key with a plain value."""
    members = [schema, *schema.get("allOf", ()), *schema.get("anyOf", ())]
    names = [member["$ref"].rpartition("/")[2] for member in members if "$ref" in member]
    return next((name for name in names if "properties" in definitions[name]), "")


def _limits(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" from {_written(low)} to {_written(high)}" if low == 0 or low > 0.001 else f" between 0 and {high:.2g}"
    if low is not None:
        return f" (at least {low})" if "minimum" in schema else f" (above {low})"
    if "maxLength" in schema:
        return f" of at most {schema['maxLength']} characters"
    if schema.get("pattern") == r"\S":
        return " (not empty)"
    return f" like {code(re.sub(r'[$^]', '', schema['pattern']))}" if "pattern" in schema else ""


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.2g}"
