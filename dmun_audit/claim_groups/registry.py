"""All claim groups in the order of an audit: one for each file here that defines `GROUP`, and the groups of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.extensions import load, registered
from dmun_audit.claim_groups.group import ClaimGroup

ENTRY_POINTS = "dmun_audit.claim_groups"


@cache
def claim_groups() -> tuple[ClaimGroup, ...]:
    """Every claim group. Raises UsageError if two have the same name, LoadError if an extension cannot be imported."""
    package = __package__ or ""
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    groups = [*(module.GROUP for module in modules if hasattr(module, "GROUP")), *extensions()]
    names = [group.name for group in groups]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two claim groups have the name {duplicates[0]!r}", "records name their group", "rename one of them")
    return tuple(sorted(groups, key=lambda group: group.order))


@cache
def extensions() -> tuple[ClaimGroup, ...]:
    """The claim groups of other packages. Raises UsageError if one is no ClaimGroup, LoadError if its import fails."""
    groups = tuple(load(entry) for entry in registered(ENTRY_POINTS).values())
    for group in groups:
        if not isinstance(group, ClaimGroup):
            raise UsageError(f"{group!r} is registered as a claim group", "it is no ClaimGroup", "register an instance of one")
    return groups


def claim_group(name: str) -> ClaimGroup:
    """The claim group of that name. Raises KeyError if there is none."""
    for group in claim_groups():
        if group.name == name:
            return group
    raise KeyError(name)


def group_rank(name: str) -> int:
    """The rank of a group in the order of an audit. Groups that this version does not know come last."""
    names = [group.name for group in claim_groups()]
    return names.index(name) if name in names else len(names)
