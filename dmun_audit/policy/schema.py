"""The JSON Schema of policy files."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from dmun_audit.policy.policy import Policy

SCHEMA_ID = "urn:dmun-audit:policy:1"

POLICY = TypeAdapter(Policy)
"""Validates a table as a policy."""


def policy_json_schema() -> dict[str, Any]:
    """Return the published JSON Schema of policy files. A file with the key `extends` may leave out every other key."""
    schema = dict(complete_policy_schema())
    required: dict[str, Any] = {"required": schema.pop("required"), "properties": {}}
    definitions = dict(schema.pop("$defs"))
    for key, value in schema["properties"].items():
        section = _section_of(value)
        if "required" in definitions.get(section, {}):
            required["properties"][key] = {"required": definitions[section]["required"]}
            definitions[section] = {name: part for name, part in definitions[section].items() if name != "required"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "Policy file of dmun_audit",
        "$defs": definitions,
        "if": {"required": ["extends"]},
        "else": required,
    }


def _section_of(value: dict[str, Any]) -> str:
    """The name of the section that a key holds, also if it may be absent; empty for any other key."""
    references = [member["$ref"] for member in (value, *value.get("anyOf", ())) if "$ref" in member]
    return str(references[0]).rpartition("/")[2] if references else ""


@cache
def complete_policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy with all of its keys. The caller must not change it."""
    return POLICY.json_schema()
