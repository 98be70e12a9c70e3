"""Files that other people made, read within limits: no device, no file without end, no JSON that nests or repeats without end."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn


def read_within(path: Path, most: int) -> bytes:
    """The content of the regular file at `path`, of at most `most` bytes.

    Raises OSError where it cannot be read, and ValueError with the reason where it is no regular file, or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would be waited for
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def parse_json(data: bytes | str, *, most_values: int = 1_000_000, infinite: bool = False) -> Any:
    """The value of a JSON text. With `infinite`, the numbers Infinity and -Infinity may stand in it, as in some schedulers.

    Raises ValueError with the reason where the text is no JSON, nests too deep, has a table with the same key twice, holds NaN or
    an infinite number, or may hold more than `most_values` values.
    """
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    if text.count(",") + text.count("[") + text.count("{") > most_values:
        raise ValueError(f"it holds more than {most_values:,} values")

    def number(spelling: str) -> float:
        value = float(spelling)
        if math.isfinite(value) or (infinite and value == value):
            return value
        raise ValueError(f"{spelling[:20]} is no finite number")

    try:
        return json.loads(text, object_pairs_hook=_table, parse_constant=number, parse_float=number)
    except RecursionError:
        raise ValueError("it nests without end") from None


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        _refuse_repetition([name for name, _ in pairs])
    return table


def _refuse_repetition(names: list[str]) -> NoReturn:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"key {name[:80]!r} stands twice in one table")
        seen.add(name)
    raise AssertionError("no key stands twice")
