"""Dossiers read from files and texts: cleaned of hidden characters and validated, with every fault named."""

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
from dmun_audit._util.untrusted import parse_json, read_within
from dmun_audit.knowledge.dossier import LENIENT, LINE_BREAK, Dossier
from dmun_audit.knowledge.words.texts import without_hidden_characters

MAXIMUM_BYTES = 4_000_000
_PLACEHOLDER = "‽"  # no prompt contains it
_STAND_INS: dict[str, Any] = {
    "format": 1,
    "world": "real",
    "target": {"name": _PLACEHOLDER, "kind": "object", "label": _PLACEHOLDER, "direct_prompts": [_PLACEHOLDER]},
    "concepts": [
        {
            "name": _PLACEHOLDER,
            "kind": "object",
            "relation": "distant",
            "role": "observe",
            "similarity": 0,
            "label": _PLACEHOLDER,
            "prompts": [2 * _PLACEHOLDER],
        }
    ],
    "provenance": {"backend": _PLACEHOLDER},
}
"""Valid parts that replace invalid ones while the others are checked."""


def read_dossier(path: Path) -> Dossier:
    """The dossier in the file at `path`. Raises UsageError if it cannot be read or is not valid."""
    return parse_dossier(read_bytes(path, f"dossier {path}"), str(path))


def read_bytes(path: Path, what: str) -> bytes:
    """The content of the dossier's file at `path`, which errors call `what`. Raises UsageError where it cannot be read."""
    try:
        return read_within(path, MAXIMUM_BYTES)
    except OSError as error:
        raise UsageError(f"{what} cannot be read", str(error.strerror or error), "give the path of a dossier") from None
    except ValueError as error:
        raise UsageError(f"{what} cannot be read", str(error), f"keep it under {MAXIMUM_BYTES:,} bytes") from None


def parse_dossier(data: bytes, origin: str) -> Dossier:
    """The dossier in the JSON text `data`; `origin` names it in errors. Raises UsageError with the first five faults."""
    dossier, faults = parse_valid_part(data, origin)
    if dossier is not None and not faults:
        return dossier
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    remedy = f"correct it; `dmun-audit dossier check {origin}` names every fault at once"
    raise UsageError(f"dossier {origin} is not valid", "; ".join(faults[:5]) + more, remedy)


@contextmanager
def as_usage_error(what: str, remedy: str) -> Iterator[None]:
    """Turn the validation error of a dossier made in the context into one UsageError."""
    try:
        yield
    except ValidationError as error:
        raise UsageError(what, "; ".join(_messages(None, error)[:3]), remedy) from None


def parse_valid_part(data: bytes, origin: str) -> tuple[Dossier | None, list[str]]:
    """The dossier in `data` without its invalid parts, and every fault.

    The valid part serves to check how parts fit together. It may contradict itself, so an audit must not use it. It is None if
    nothing can be checked. Raises UsageError if `data` is no JSON, too large or a transcript.
    """
    if data.lstrip().startswith(b'{"format": 1, "backend":'):
        raise UsageError(
            f"{origin} is a transcript, no dossier", "it holds a language model's answers", f"name it as transcript:{origin}"
        )
    if len(data) > MAXIMUM_BYTES:
        raise UsageError(f"dossier {origin} is too large", f"{len(data):,} bytes", f"keep it under {MAXIMUM_BYTES:,} bytes")
    try:
        value = _clean(parse_json(data))
        json.dumps(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"dossier {origin} is not valid JSON", str(error), "correct the place that is named") from None
    faults: list[str] = []
    while True:
        try:
            dossier = Dossier.model_validate_json(json.dumps(value), context=LENIENT, strict=True)
            return dossier, faults + dossier.inconsistencies()
        except ValidationError as error:
            new = [fault for fault in _messages(value, error) if fault not in faults]
            faults += new
            without_place = any(not fault["loc"] for fault in error.errors())
            if not new or without_place or not isinstance(value, dict):
                return None, faults
            _remove_faults(value, error)


def _messages(value: Any, error: ValidationError) -> list[str]:
    """The faults of a validation, a line each. A part of a list is called by its name or text."""
    lines = []
    for fault in error.errors():
        message = str(fault["msg"]).removeprefix("Value error, ")
        if fault["loc"]:
            lines.append(f"{_place(value, tuple(fault['loc']))}: {message}")
        else:
            lines += message.split(LINE_BREAK)
    return lines


def _place(value: Any, place: tuple[Any, ...]) -> str:
    """The place of a fault in words, such as "concepts.3 'Claude Monet' similarity"."""
    try:
        item = value[place[0]][place[1]]
        name = next(item[key] for key in ("name", "text", "source") if isinstance(item.get(key), str))
    except (LookupError, TypeError, AttributeError, StopIteration):
        return ".".join(map(str, place))
    further = ".".join(map(str, place[2:]))
    return f"{place[0]}.{place[1]} {shorten(name, 60, placeholder='…')!r}" + (f" {further}" if further else "")


def _remove_faults(value: dict[str, Any], error: ValidationError) -> None:
    """Remove invalid list items and unknown keys from `value`, and replace invalid required parts by stand-ins."""
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
        value.pop("orderings", None)  # they may name the concepts that were removed


def _clean(value: Any) -> Any:
    """`value` without hidden characters in any text: a dossier is shown in terminals and reports."""
    if isinstance(value, str):
        return without_hidden_characters(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
