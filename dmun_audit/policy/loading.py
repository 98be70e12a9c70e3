"""From TOML files to a policy: reads a file and the policies that it extends."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit._util.untrusted import read_within
from dmun_audit.policy.policy import Policy
from dmun_audit.policy.problems import did_you_mean, usage_error
from dmun_audit.policy.schema import POLICY

BUILT_IN = Path(__file__).parent / "built_in"
MOST_BYTES = 1_000_000  # of a policy file; the built-in ones have 3,000
MOST_PARENTS = 16  # policies that extend each other
NO_FIGURES = frozenset({"name", "extends", "release_evidence", "waivers"})


def built_in_names() -> list[str]:
    """The names of the policies that ship with the package, strictest last."""
    order = {"smoke": 0, "standard": 1, "paper": 2, "release": 3}
    return sorted((path.stem for path in BUILT_IN.glob("*.toml")), key=lambda name: order.get(name, 9))


def load_policy(reference: str) -> Policy:
    """Return the built-in policy of that name, or the policy in that TOML file.

    Raises UsageError with the file, the key and the value at fault.
    """
    path = _path_of(reference, Path())
    if path is None:
        raise _no_policy(f"policy {reference!r}", reference)
    return _load(path, children=())


def policy_from_table(table: dict[str, Any], path: Path) -> Policy:
    """Return the policy in a complete `table`. `path` names the table in errors; `extends` is kept and not followed.

    Raises UsageError with the key and the value at fault.
    """
    try:
        return POLICY.validate_python(table)
    except ValidationError as error:
        raise usage_error(error, path) from None


def baseline(policy: Policy) -> str | None:
    """Return the name of the built-in policy that reports compare `policy` with, or None if there is none.

    It is the built-in policy of the same name, else the built-in policy that `policy` extends.
    """
    return next((name for name in (policy.name, policy.extends) if name in built_in_names()), None)


def alterations(policy: Policy) -> list[str]:
    """Return where a policy differs from its baseline, such as "erasure.ceiling 0.05 → 0.9". Waivers are left out."""
    name = baseline(policy)
    if name is None:
        return []
    before, after = (_figures(asdict(each)) for each in (load_policy(name), policy))
    return [
        f"{key} {before.get(key)} → {after.get(key)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def _figures(table: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a policy by their dotted keys."""
    figures: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            figures |= {f"{key}.{inner}": figure for inner, figure in _figures(value).items()}
        elif key not in NO_FIGURES:
            figures[key] = value
    return figures


def _load(path: Path, children: tuple[Path, ...]) -> Policy:
    """Load the policy at `path`. `children` are the files that extend it, in the order in which they were read."""
    try:
        text = read_within(path, MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"policy file {path} is not valid TOML", str(error), "save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"policy file {path} cannot be read", str(error), "name a policy file") from None
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"policy file {path} is not valid TOML", str(error), "correct the line that is named") from None
    if isinstance(table.get("extends"), str):
        table = _extended(table, path, children)
    return policy_from_table(table, path)


def _extended(table: dict[str, Any], path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """Return `table` with the keys of the policy that it extends. Waivers add up.

    The waivers of `table` come first, so that an error gives the place that a waiver has in its file.
    """
    reference = table["extends"]
    source = _path_of(reference, path.parent)
    if source is None:
        raise _no_policy(f"policy file {path}: extends = {reference!r}", reference)
    chain = (*children, path.resolve())
    if len(chain) > MOST_PARENTS:
        raise UsageError(
            f"policy file {path}: extends = {reference!r} is one policy too many",
            f"{chain[0].name} extends more than {MOST_PARENTS} policies, one after the other",
            "put their keys into fewer files",
        )
    if source.resolve() in chain:
        raise UsageError(
            f"policy file {path}: extends = {reference!r} closes a circle",
            " → ".join(file.name for file in (*chain[chain.index(source.resolve()) :], source)),
            "let one of these files extend a built-in policy, or none",
        )
    parent = _load(source, chain)
    inherited = asdict(parent)
    merged = _overlaid(inherited | {"name": path.stem}, table)
    if isinstance(waivers := table.get("waivers"), list):
        merged["waivers"] = [*waivers, *inherited["waivers"]]
    merged["extends"] = parent.extends or (reference if reference in built_in_names() else str(source))
    return merged


def _overlaid(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Return the values of `child`, and the values of `parent` for every key that `child` leaves out, table by table."""
    both = {key: _overlaid(parent[key], child[key]) for key in child if _is_table(parent, key) and _is_table(child, key)}
    return parent | child | both


def _is_table(table: dict[str, Any], key: str) -> bool:
    return isinstance(table.get(key), dict)


def _path_of(reference: str, folder: Path) -> Path | None:
    """Return the file of a built-in policy, or the file at a path relative to `folder`; None if there is neither."""
    if reference in built_in_names():
        return BUILT_IN / f"{reference}.toml"
    path = folder / expanded(reference, f"policy {reference!r}")
    return path if os.path.isfile(path) else None  # unlike Path.is_file, it takes a name that no file can have


def _no_policy(what: str, reference: str) -> UsageError:
    names = built_in_names()
    return UsageError(
        f"{what} is neither a built-in policy nor a file",
        did_you_mean(reference, names),
        f"use one of {', '.join(names)}, or the path of a TOML file",
    )
