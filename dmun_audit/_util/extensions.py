"""Extensions of other packages, found through entry points. An extension is imported when it is used, not when it is listed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from dmun_audit._util.errors import LoadError, UsageError

T = TypeVar("T")


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, such as `dmun_audit.detectors`, by name.

    Raises UsageError where two packages register the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = by_name.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UsageError(
                f"two packages register {entry.name!r} as {group}",
                f"{_package(other)} gives {other.value}, {_package(entry)} gives {entry.value}",
                "uninstall one of them",
            )
    return by_name


def load(entry: EntryPoint) -> Any:
    """The object of an entry point. Raises LoadError where its import fails."""
    try:
        return entry.load()
    except Exception as error:
        raise LoadError(
            f"the extension {entry.name!r} cannot be imported",
            f"{entry.value} of {_package(entry)}: {type(error).__name__}: {error}",
            "mend or uninstall that package",
        ) from error


def call(entry: EntryPoint, what: str, function: Callable[[], T]) -> T:
    """The result of a call into an extension; `what` names the thing that it opens.

    Raises LoadError for any error but a UsageError of the extension's own.
    """
    try:
        return function()
    except UsageError:
        raise
    except Exception as error:
        raise LoadError(
            f"{what} cannot be opened by the extension {entry.name!r}",
            f"{entry.value}: {type(error).__name__}: {error}",
            "check the reference, or report it to the authors of that package",
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unnamed package"
