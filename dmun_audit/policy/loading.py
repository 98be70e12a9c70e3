"""From a TOML file to a policy: every key known, every value of its kind."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dmun_audit._util.errors import UsageError
from dmun_audit.policy.checks import check_ranges
from dmun_audit.policy.sections import Policy, Waiver

BUILT_IN = Path(__file__).parent / "built_in"


def built_in_names() -> list[str]:
    """Names of the policies that ship with the package, strictest last."""
    order = {"smoke": 0, "standard": 1, "paper": 2, "release": 3}
    return sorted((path.stem for path in BUILT_IN.glob("*.toml")), key=lambda name: order.get(name, 9))


def load_policy(reference: str) -> Policy:
    """The built-in policy of that name, or the one in that TOML file.

    Raises UsageError that names the file, the key and the value at fault.
    """
    path = BUILT_IN / f"{reference}.toml"
    if reference not in built_in_names():
        path = Path(reference).expanduser()
        if not os.path.isfile(path):  # unlike Path.is_file, it takes a name that no file can have
            raise UsageError(
                f"policy {reference!r} is neither built in nor a file",
                _did_you_mean(reference, built_in_names()),
                f"use one of {', '.join(built_in_names())}, or the path of a TOML file",
            )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"policy file {path} is not valid TOML", str(error), "mend the line that is named") from None
    return policy_from_table(table, path)


def alterations(policy: Policy) -> list[str]:
    """In which figures a policy differs from the one that ships under its name: "erasure.ceiling 0.05 → 0.9". Waivers aside."""
    if policy.name not in built_in_names():
        return []
    shipped, here = (_flat(dataclasses.asdict(each)) for each in (load_policy(policy.name), policy))
    return [f"{key} {shipped[key]} → {here[key]}" for key in shipped if shipped[key] != here[key]]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": held for inner, held in value.items()}
        elif key != "waivers":
            flat[key] = value
    return flat


def policy_from_table(table: dict[str, Any], path: Path) -> Policy:
    """The policy in `table`; `path` names it in errors. Keys whose value is None count as left out."""
    policy: Policy = _build(Policy, table, path, "")
    check_ranges(policy, path)
    return policy


def _build(kind: Any, table: dict[str, Any], path: Path, section: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise UsageError(
                f"policy file {path}: unknown key {section + key!r}",
                _did_you_mean(key, fields),
                "valid keys here: " + ", ".join(fields),
            )
    values = {}
    for name, field in fields.items():
        if table.get(name) is not None:
            values[name] = _value(hints[name], table[name], path, section + name)
        elif field.default is dataclasses.MISSING:
            remedy = "add it; `standard` shows every key"
            if kind is Waiver:
                remedy = "a waiver says its case, the reason, the owner, and the day on which it expires"
            raise UsageError(f"policy file {path}: key {section + name!r} is missing", "", remedy)
    return kind(**values)


def _value(hint: Any, value: Any, path: Path, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return _build(hint, value, path, key + ".")
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_value(get_args(hint)[0], inner, path, f"{key} {place}") for place, inner in enumerate(value, start=1))
    elif get_origin(hint) is not None:  # a union: the first member that takes the value
        for member in get_args(hint):
            try:
                return _value(member, value, path, key)
            except UsageError:
                continue
    elif hint is date:
        if (day := _day(value)) is not None:
            return day
    elif hint is float and isinstance(value, int | float):
        return float(value)
    elif isinstance(value, hint):
        return value
    raise UsageError(f"policy file {path}: {key} = {value!r} is not a valid value", "", f"expected: {_describe(hint)}")


def _day(value: Any) -> date | None:
    """A day, as TOML has it or as JSON does (2027-01-31); None for everything else, moments included."""
    if isinstance(value, str):
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(repr(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return "an array of tables"
    if get_origin(hint) is not None:
        return " or ".join(_describe(member) for member in get_args(hint) if member is not type(None))
    if dataclasses.is_dataclass(hint):
        return "a table"
    named = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", date: "a day such as 2027-01-31"}
    return named.get(hint, str(hint))


def _did_you_mean(word: str, options: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""
