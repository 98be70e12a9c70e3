"""The header of a safetensors file, read and verified without importing torch or the tensors themselves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from dmun_audit._util.errors import LoadError
from dmun_audit.models.files.first_bytes import what_text

LONGEST_HEADER = 100_000_000  # bytes; the limit of the format's own reader
MOST_TENSORS = 100_000  # FLUX has 800, SDXL with all that is around it 4,000
LONGEST_SIDE = 1 << 48  # of a shape; no file has so many bytes
BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16}
BITS |= {"U16": 16, "I8": 8, "U8": 8, "BOOL": 8}
BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
BITS |= {"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}


@dataclass(frozen=True)
class Header:
    """What a safetensors file declares: shape and type of each tensor, with the type spelt as in the format, and the metadata."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The verified header of the safetensors file at `path`.

    Raises LoadError, naming the file and where possible the tensor, where the file is empty, cut off or of another format, or
    where its tensors do not fill its data exactly.
    """
    if path.exists() and not path.is_file():
        raise _refusal(path, "it is no regular file")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
                raise _refusal(path, _what_is_wrong_at_the_start(path, size, length))
            text = stream.read(length)
    except OSError as error:
        raise _refusal(path, str(error)) from None
    marks = {mark: text.count(mark) for mark in (b"{", b"[", b'"')}
    if marks[b"{"] > MOST_TENSORS or marks[b"["] > 3 * MOST_TENSORS or marks[b'"'] - text.count(b'\\"') > 12 * MOST_TENSORS:
        raise _refusal(path, f"its header declares more than {MOST_TENSORS:,} tensors, or other things than tensors")
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise _refusal(path, "its header is not JSON") from None
    if not isinstance(table, dict):
        raise _refusal(path, "its header is not a table")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refusal(path, "its metadata is not a table of texts")
    spans = [_span(path, name, facts) for name, facts in table.items()]
    _require_exact_cover(path, spans, size - 8 - length)
    shapes = {name: tuple(facts["shape"]) for name, facts in table.items()}
    return Header(shapes, {name: facts["dtype"] for name, facts in table.items()}, metadata)


def _what_is_wrong_at_the_start(path: Path, size: int, length: int) -> str:
    if size == 0:
        return "it is empty"
    if size < 8:
        return f"it has {size} bytes, fewer than any safetensors file"
    text = what_text(path)
    if text:
        return text
    if length > LONGEST_HEADER:
        return f"it starts with a header length of {length:,} bytes, which no safetensors file has"
    return f"it is cut off: its header should have {length:,} bytes and the file has {size:,}"


def _span(path: Path, name: str, facts: Any) -> tuple[int, int, str]:
    """Where a tensor begins and ends in the data. Raises LoadError where its entry contradicts itself."""
    shape, dtype, offsets = (
        (facts.get(key) for key in ("shape", "dtype", "data_offsets")) if isinstance(facts, dict) else (None,) * 3
    )
    known = isinstance(dtype, str) and dtype in BITS
    if not known or not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise _refusal(path, f"the entry of tensor {name!r} is not a shape, a known dtype and two offsets")
    begin, end = offsets
    declared = math.prod(shape) * BITS[str(dtype)]
    if end < begin or (end - begin) * 8 != declared:
        raise _refusal(
            path,
            f"tensor {name!r} of shape {shape} and type {dtype} takes {declared // 8:,} bytes, and it declares {end - begin:,}",
        )
    return begin, end, name


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) < 64 and all(type(item) is int and 0 <= item < LONGEST_SIDE for item in value)


def _require_exact_cover(path: Path, spans: list[tuple[int, int, str]], available: int) -> None:
    """Raise LoadError unless the tensors fill the data with no gap and no overlap."""
    position = 0
    for begin, end, name in sorted(spans):
        if end > available:
            raise _refusal(path, f"it is cut off: tensor {name!r} ends at byte {end:,} of the data, which has {available:,}")
        if begin != position:
            raise _refusal(path, f"tensor {name!r} begins at byte {begin:,} of the data instead of byte {position:,}")
        position = end
    if position != available:
        raise _refusal(path, f"its tensors take {position:,} bytes, and it has {available:,}")


def _refusal(path: Path, why: str) -> LoadError:
    return LoadError(f"{path} is no usable safetensors file", why, "save or download it again")
