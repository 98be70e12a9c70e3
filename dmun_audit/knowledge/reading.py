"""Dossiers out of files and texts: validated, cleaned of what steers a terminal, every fault named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import LENIENT, LINE_BREAK, Dossier
from dmun_audit.knowledge.texts import without_unread

MAXIMUM_BYTES = 4_000_000
_NOTHING = "‽"  # in no prompt
_STAND_INS: dict[str, Any] = {
    "format": 1,
    "world": "real",
    "target": {"name": _NOTHING, "kind": "object", "label": _NOTHING, "direct_prompts": [_NOTHING]},
    "concepts": [
        {
            "name": _NOTHING,
            "kind": "object",
            "relation": "distant",
            "role": "observe",
            "similarity": 0,
            "label": _NOTHING,
            "prompts": [2 * _NOTHING],
        }
    ],
    "provenance": {"backend": _NOTHING},
}
"""What stands for a part at fault while the others are looked at."""


def read_dossier(path: Path) -> Dossier:
    """The dossier in the file at `path`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"dossier {path} cannot be read", str(error.strerror or error), "give the path of a dossier") from None
    return parse_dossier(data, str(path))


def parse_dossier(data: bytes, origin: str) -> Dossier:
    """Validate the JSON text `data`; `origin` names it in errors. Raises UsageError that names the first few faults."""
    dossier, faults = survey(data, origin)
    if dossier is not None and not faults:
        return dossier
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    why = "; ".join(faults[:5]) + more
    raise UsageError(
        f"dossier {origin} is not valid", why, f"mend it; `dmun-audit dossier check {origin}` names everything at once"
    )


@contextmanager
def as_usage_error(what: str, remedy: str) -> Iterator[None]:
    """Whatever a dossier that is made inside lacks becomes one UsageError."""
    try:
        yield
    except ValidationError as error:
        raise UsageError(what, "; ".join(_told(None, error)[:3]), remedy) from None


def survey(data: bytes, origin: str) -> tuple[Dossier | None, list[str]]:
    """Every fault of the dossier in `data`, and what is left of it once parts at fault are set aside.

    What is left shows how the others fit together, and may itself be inconsistent: it is for looking at, not for use. It is
    None where nothing can be looked at.
    """
    if data.lstrip().startswith(b'{"format": 1, "backend":'):
        raise UsageError(
            f"{origin} is a transcript, no dossier", "it holds a language model's answers", f"name it as transcript:{origin}"
        )
    if len(data) > MAXIMUM_BYTES:
        raise UsageError(f"dossier {origin} is too large", f"{len(data):,} bytes", f"keep it under {MAXIMUM_BYTES:,} bytes")
    try:
        value = _clean(json.loads(data))
        json.dumps(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"dossier {origin} is not valid JSON", str(error), "mend the place that is named") from None
    faults: list[str] = []
    while True:
        try:
            dossier = Dossier.model_validate_json(json.dumps(value), context=LENIENT)
            return dossier, faults + dossier.inconsistencies()
        except ValidationError as error:
            new = [fault for fault in _told(value, error) if fault not in faults]
            faults += new
            nowhere = any(not fault["loc"] for fault in error.errors())
            if not new or nowhere or not isinstance(value, dict):
                return None, faults
            _set_aside(value, error)


def _told(value: Any, error: ValidationError) -> list[str]:
    """What a validation found, a line each, parts of a list by their name or text."""
    found = []
    for fault in error.errors():
        message = str(fault["msg"]).removeprefix("Value error, ")
        if fault["loc"]:
            found.append(f"{_place(value, tuple(fault['loc']))}: {message}")
        else:
            found += message.split(LINE_BREAK)
    return found


def _place(value: Any, place: tuple[Any, ...]) -> str:
    """Where a fault stands: "concepts.3 'Claude Monet' similarity"."""
    try:
        item = value[place[0]][place[1]]
        name = next(item[key] for key in ("name", "text", "source") if isinstance(item.get(key), str))
    except (LookupError, TypeError, AttributeError, StopIteration):
        return ".".join(map(str, place))
    further = ".".join(map(str, place[2:]))
    return f"{place[0]}.{place[1]} {shorten(name, 60, placeholder='…')!r}" + (f" {further}" if further else "")


def _set_aside(value: dict[str, Any], error: ValidationError) -> None:
    """Take what is at fault out of `value`: list items as they are, unknown keys, and stand-ins for what must be there."""
    stand_ins = deepcopy(_STAND_INS)
    places: set[tuple[Any, ...]] = {tuple(fault["loc"]) for fault in error.errors()}
    items = {(place[0], place[1]) for place in places if len(place) > 1 and isinstance(value.get(place[0]), list)}
    for key, index in sorted(items, key=lambda place: -int(place[1])):
        del value[key][index]
        value[key] = value[key] or stand_ins.get(key, [])
    for key, *further in places - items:
        if further and isinstance(value.get(key), dict):
            value[key].pop(further[0], None)
            value[key] |= {name: part for name, part in stand_ins.get(key, {}).items() if name == further[0]}
        elif not further:
            value.pop(key, None)
            value |= {name: part for name, part in stand_ins.items() if name == key}
    if any(place[0] == "concepts" for place in places if place):
        value.pop("orderings", None)  # they would seem to speak of concepts that are not there


def _clean(value: Any) -> Any:
    """Control characters out of every text: a dossier ends up in terminals and reports."""
    if isinstance(value, str):
        return without_unread(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
