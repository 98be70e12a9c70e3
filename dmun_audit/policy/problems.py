"""Errors of a policy file in words: one problem, with the file, the key, the value and what is expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dmun_audit._util.errors import UsageError
from dmun_audit.policy.schema import complete_policy_schema

Schema = dict[str, Any]

UNKNOWN = "unexpected_keyword_argument"
MISSING = "missing"
BROKEN_RULE = "broken_rule"
OUT_OF_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"})
NOUNS = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "a text", "object": "a table"}
LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "under"}


def usage_error(error: ValidationError, path: Path) -> UsageError:
    """Return the error for the user. An unknown key comes first: it often explains why another key is missing."""
    order = {UNKNOWN: 0, MISSING: 2, BROKEN_RULE: 3}  # 1: a wrong value
    problems = error.errors(include_url=False)
    first = min(problems, key=lambda problem: order.get(problem["type"], 1))
    key, schema = _find(first["loc"])
    file = f"policy file {path}"
    if first["type"] == BROKEN_RULE:
        context = first["ctx"]
        return UsageError(f"{file}: {_join(key, context['key'])} {context['problem']}", context["why"], context["remedy"])
    if first["type"] == UNKNOWN:
        name, known = str(first["loc"][-1]), schema["properties"]
        remedy = f"valid keys here: {', '.join(known)}"
        return UsageError(f"{file}: unknown key {_join(key, name)!r}", did_you_mean(name, known), remedy)
    if first["type"] == MISSING:
        remedy = f"add it ({_expected(schema)})"
        if not key.startswith("waivers"):
            remedy += '; the built-in policy `standard` shows every key; extends = "standard" supplies those that are left out'
        return UsageError(f"{file}: key {key!r} is missing", schema.get("description", ""), remedy)
    is_out_of_range = any(problem["type"] in OUT_OF_RANGE for problem in _of_key(problems, key))
    fault = "is out of range" if is_out_of_range else "is not a valid value"
    what = f"{file}: {key} = {first['input']!r} {fault}"
    return UsageError(what, schema.get("description", ""), f"expected: {_expected(schema)}")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return a question that names the option closest to `word`, or an empty text if none is close."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def _of_key(problems: Iterable[ErrorDetails], key: str) -> list[ErrorDetails]:
    """Return the problems of one key. A key that takes a number or a word has one problem for each of the two."""
    return [problem for problem in problems if _find(problem["loc"])[0] == key]


def _find(location: tuple[int | str, ...]) -> tuple[str, Schema]:
    """Return the dotted key at a location of pydantic, and the key's schema.

    The walk ends at the last known key. After it may come an unknown key, or the member of a union.
    """
    key, schema = "", complete_policy_schema()
    for part in location:
        inner = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        if inner is None:
            break
        key, schema = _join(key, part), _resolved(inner)
    return key, schema


def _join(key: str, part: int | str) -> str:
    """Return "waivers 1" for the first waiver, and "waivers 1.reason" for its key."""
    if isinstance(part, int):
        return f"{key} {part + 1}"
    return f"{key}.{part}" if key else part


def _resolved(schema: Schema) -> Schema:
    """The schema of a key. A section that may be absent is the section itself."""
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    if len(members) == 1 and "$ref" in members[0]:
        schema = members[0] | {name: part for name, part in schema.items() if name != "anyOf"}
    if "$ref" not in schema:
        return schema
    definition: Schema = complete_policy_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    return definition | schema


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _expected(schema: Schema) -> str:
    """Return what a key takes, in words."""
    if "anyOf" in schema:
        return ", or ".join(_expected(_resolved(member)) for member in schema["anyOf"] if member.get("type") != "null")
    if "enum" in schema:
        return " | ".join(repr(option) for option in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    if schema.get("format") == "date":
        return "a day such as 2027-01-31"
    if schema["type"] == "array":
        return "an array of tables"
    noun = "a text that is not blank" if "pattern" in schema else NOUNS[schema["type"]]
    limits = [f"{words} {_number(schema[limit])}" for limit, words in LIMITS.items() if limit in schema]
    return f"{noun}, {' and '.join(limits)}" if limits else noun
