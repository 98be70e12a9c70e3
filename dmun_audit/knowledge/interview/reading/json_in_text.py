"""JSON values found in a text, with small faults of syntax repaired. Only whole values are read: nothing is completed.

The items of an answer are flat objects, so a faulty text is repaired object by object. A fault then costs at most its own object,
an object that was cut off has no end and is left out, and hostile texts take bounded time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import json_repair

_LONGEST_REPAIRED = 4_000  # characters of one object or list
_NESTED_LISTS = 8  # in an object that is repaired
_MOST_FAILURES = 300  # positions of a text at which no JSON value starts
_MOST_VALUES = 500  # read in one text
_FLAT_OBJECT = re.compile(rf"\{{[^{{}}]{{0,{_LONGEST_REPAIRED}}}\}}")
_CLOSED_STRING_AT_END = re.compile(r'(?<!\\)"\s*[}\]]\Z')
_FLAT_LIST = re.compile(rf"\[[^\[\]{{}}]{{0,{_LONGEST_REPAIRED}}}\]")
_LIST_CUT_OFF = re.compile(r"\[\s*(?:(?:\"(?:[^\"\\]|\\.)*\"|-?\d+)\s*,\s*)+")
_BETWEEN = re.compile(r"(?:[\s,;]|//[^\n]*(?:\n|\Z)|#[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*\*/)*")
_BARE_NUMBER = re.compile(r"(:\s*)(-?\d[^,}\]\"'\n]*)")
_STRUCTURE_IN_STRING = re.compile(r"[\"'}\]]\s*[,:]\s*[\"'{\[]")
_MARKED_LINE = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•–])\s+(\S.*)$")
_MOST_LISTED = 200


@dataclass(frozen=True)
class Run:
    """Values that only white space, commas and comments separate.

    `repaired` tells whether one had faults of syntax, `in_broken_list` whether they stand in a list that is not valid JSON as a whole.
    """

    values: tuple[Any, ...]
    repaired: bool
    in_broken_list: bool


def whole_value(text: str) -> Any:
    """The JSON value that `text` is. Raises ValueError if it is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def runs_in(text: str) -> list[Run]:
    """The objects and lists in `text`, in runs. A string or a number alone is no value here."""
    runs: list[Run] = []
    values: list[Any] = []
    repaired, in_list, last_end = False, False, -1
    for start, end, value, mended in islice(_values_in(text), _MOST_VALUES):
        if values and _BETWEEN.fullmatch(text, last_end, start) is None:
            runs.append(Run(tuple(values), repaired, in_list))
            values, repaired = [], False
        if not values:
            in_list = text[max(0, start - 40) : start].rstrip().endswith("[")
        values.append(value)
        repaired, last_end = repaired or mended, end
    return [*runs, Run(tuple(values), repaired, in_list)] if values else runs


def _values_in(text: str) -> Iterator[tuple[int, int, Any, bool]]:
    """Start, end and value of each outermost object or list in `text`, and whether it was repaired."""
    decoder = json.JSONDecoder()
    position, failures = 0, 0
    while failures < _MOST_FAILURES and (opening := _next_opening(text, position)) >= 0:
        try:
            value, end = decoder.raw_decode(text, opening)
        except (ValueError, RecursionError):
            failures += 1
            found = _repaired_at(text, opening)
            if found is None:
                position = opening + 1
                continue
            end, value = found
            yield opening, end, value, True
        else:
            yield opening, end, value, False
        position = end


def _next_opening(text: str, position: int) -> int:
    places = [place for place in (text.find("{", position), text.find("[", position)) if place >= 0]
    return min(places, default=-1)


def _repaired_at(text: str, opening: int) -> tuple[int, Any] | None:
    """The end and the value of the flat object or list at `opening`, repaired; None if there is none, or it cannot be trusted."""
    pattern = _FLAT_OBJECT if text[opening] == "{" else _FLAT_LIST
    if found := pattern.match(text, opening):
        rest = text[found.end() : found.end() + _LONGEST_REPAIRED]
        if _quotes(found[0]) % 2 and _quotes(rest) <= 1 and not _CLOSED_STRING_AT_END.search(found[0]):
            return None  # the bracket belongs to the last string, in or after which the answer was cut off
        value = _repaired(found[0])
        return None if value is None else (found.end(), value)
    if text[opening] == "[" and (found := _LIST_CUT_OFF.match(text, opening)) and not re.search(r"[\]}]", text[found.end() :]):
        return found.end(), json.loads(found[0].rstrip().rstrip(",") + "]")
    return None


def _quotes(text: str) -> int:
    """The number of quotation marks in a JSON text that no backslash escapes."""
    return re.sub(r"\\.", "", text).count('"')


def _repaired(text: str) -> Any:
    if text.count("[") > _NESTED_LISTS:
        return None
    quoted = _BARE_NUMBER.sub(lambda match: f"{match[1]}{json.dumps(match[2].strip())}", text) if text[0] == "{" else text
    try:
        value = json_repair.loads(quoted, skip_json_loads=True, strict=True)
    except (ValueError, RecursionError, IndexError, KeyError, TypeError, AttributeError):
        return None
    is_like_its_text = isinstance(value, dict if text[0] == "{" else list) and bool(value)
    return value if is_like_its_text and not any(map(_STRUCTURE_IN_STRING.search, _strings(value))) else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _strings(key)
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def strings_in(value: Any) -> list[str]:
    """All strings of a JSON value. Raises RecursionError if it is nested too deep."""
    return list(_strings(value))


def listed_lines(text: str, *, cut_off: bool) -> list[str]:
    """The entries of a text that is a numbered or bulleted list, or [] if it is none.

    It is one if at least two lines are marked and the others are at most one before and one after the list. The last entry of a
    text that was cut off is left out.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    marked = [(place, found[1]) for place, line in enumerate(lines) if (found := _MARKED_LINE.match(line))]
    if len(marked) < 2 or len(marked) > _MOST_LISTED:
        return []
    first, last = marked[0][0], marked[-1][0]
    if first > 1 or len(lines) - 1 - last > 1 or last - first + 1 != len(marked):
        return []
    entries = [_bare(entry) for _, entry in marked]
    return entries[:-1] if cut_off and last == len(lines) - 1 else entries


def _bare(entry: str) -> str:
    """An entry without the marks around all of it: bold, italics, quotes."""
    entry = entry.strip()
    for mark in ("**", "__", "*", "_", "`", '"', "“", "'"):
        end = "”" if mark == "“" else mark
        if len(entry) > 2 * len(mark) and entry.startswith(mark) and entry.endswith(end):
            entry = entry[len(mark) : -len(end)].strip()
    return entry
