"""What a pickled weights file (`.pt`, `.ckpt`, `.bin`) would call when opened. Nothing is unpickled, and torch is not used."""

from __future__ import annotations

import io
import mmap
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.files.first_bytes import what_text

LONGEST_PICKLE = 64 * 2**20  # bytes; the pickle of a state dict holds names and shapes only, well under one megabyte
MOST_OPCODES = 2_000_000  # SDXL's state dict with its optimiser's takes a tenth
DEEPEST_TUPLE = 16  # tuples that hold the same tuple twice take time that doubles with each level
LONGEST_CALL = 200  # characters of what a pickle would call, in a message
LEGACY_PICKLES = 5  # torch's older format: magic number, protocol, system, object, storage keys; then raw tensors
HARMLESS = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch\.nn\.parameter Parameter"
    r"|torch Size|torch device"
    r"|torch(\.storage)? \w*Storage"
    r"|torch (bool|u?int\d+|b?float\d+\w*|complex\d+)"
)
REMEDY = "save the bare state dict with save_file of safetensors.torch"


def check_pickle(path: Path) -> None:
    """Raise LoadError where opening `path` would call anything but torch's own functions that rebuild tensors.

    Nothing is unpickled. The entries of a zip archive must not be compressed, as torch writes them: so no file declares more data
    than it has.
    """
    if path.exists() and not path.is_file():
        raise _refusal(path, "it is no regular file")
    try:
        if path.stat().st_size == 0:
            raise _refusal(path, "it is empty")
        with path.open("rb") as stream:
            starts_as_archive = stream.read(4) == b"PK\x03\x04"  # torch decides by these bytes
        if starts_as_archive:
            _check_archive(path)
        elif zipfile.is_zipfile(path):
            raise _refusal(path, "it is a pickle with a zip archive behind it, two files in one")
        else:
            _check_legacy(path)
    except (
        OSError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:  # zipfile raises the last two for archives that are encrypted or of a newer version
        raise _refusal(path, f"it cannot be read: {error}") from None


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        squeezed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if squeezed:
            raise _refusal(path, f"its entry {squeezed[0]!r} is compressed, which torch never writes")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _refusal(path, "its entries declare more data than the file has")
        if min((entry.header_offset for entry in entries), default=0) > 0:
            raise _refusal(path, "it has other data before its first entry")
        pickles = [entry for entry in entries if entry.filename.lower().endswith(".pkl")]  # torch's reader ignores the case
        if [entry.filename.split("/")[-1] for entry in pickles] != ["data.pkl"]:
            raise _refusal(path, "it holds " + (", ".join(entry.filename for entry in pickles) or "no data.pkl"))
        if pickles[0].file_size > LONGEST_PICKLE:
            raise _refusal(path, f"its data.pkl has {pickles[0].file_size:,} bytes, too many for a state dict")
        _check_stream(path, io.BytesIO(archive.read(pickles[0])))


def _check_legacy(path: Path) -> None:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:1] != b"\x80":
            raise _refusal(path, what_text(path) or "it is neither a zip archive nor a pickle")
        for _ in range(LEGACY_PICKLES):
            if data.tell() < len(data):
                _check_stream(path, data)


def _check_stream(path: Path, stream: Any) -> None:
    texts: list[str] = []
    nesting = _Nesting()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number > MOST_OPCODES:
                raise _refusal(path, f"its pickle takes more than {MOST_OPCODES:,} steps, too many for a state dict")
            if nesting.follow(opcode, argument) > DEEPEST_TUPLE:
                raise _refusal(path, f"its pickle nests tuples more than {DEEPEST_TUPLE} deep, which no state dict does")
            if opcode.name in {"GLOBAL", "INST"}:
                called = str(argument)
            elif opcode.name == "STACK_GLOBAL":  # torch refuses it always; the message names what it calls
                raise _calls(path, ".".join(texts[-2:]))
            elif opcode.name.startswith("EXT"):
                raise _calls(path, f"entry {argument} of the extension registry")
            else:
                texts = [*texts[-1:], argument] if isinstance(argument, str) else texts
                continue
            if not HARMLESS.fullmatch(called):
                raise _calls(path, called.replace(" ", "."))
    except (ValueError, IndexError, KeyError, EOFError, OverflowError, MemoryError) as error:
        raise _refusal(path, f"its pickle is damaged or cut off: {error}") from None


class _Nesting:
    """Counts how deep tuples are nested, by following the stack and memo of a pickle. No object is made."""

    def __init__(self) -> None:
        self._stack: list[int | None] = []  # how deep tuples are nested in each object; None is a mark
        self._memo: dict[int, int] = {}

    def follow(self, opcode: Any, argument: Any) -> int:
        """Follow one opcode. Returns the depth of the object that it makes."""
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            self._memo[len(self._memo) if argument is None else int(argument)] = self._stack[-1] or 0
            return 0
        if opcode.name in {"GET", "BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[int(argument)])
            return 0
        if opcode.name == "DUP":
            self._stack.append(self._stack[-1])
            return 0
        taken = self._take(opcode.stack_before)
        if opcode.name == "MARK":
            self._stack.append(None)
            return 0
        depth = 1 + max(taken, default=0) if opcode.name.startswith("TUPLE") else max(taken, default=0)
        self._stack += [depth] * len(opcode.stack_after)
        return depth if opcode.stack_after else 0

    def _take(self, before: list[Any]) -> list[int]:
        """Remove what an opcode consumes: a fixed number of objects, or all above the last mark and some below it."""
        taken: list[int] = []
        if pickletools.markobject in before:
            while (top := self._stack.pop()) is not None:
                taken.append(top)
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            taken.append(self._stack.pop() or 0)
        return taken


def _calls(path: Path, called: str) -> LoadError:
    shown = "".join(letter if letter.isprintable() else "?" for letter in called[:LONGEST_CALL])  # a file may hold any text
    return LoadError(
        f"{path} was not opened", f"its pickle would call {shown}, which a state dict of tensors does not need", REMEDY
    )


def _refusal(path: Path, why: str) -> LoadError:
    return LoadError(f"{path} is no usable weights file", why, REMEDY)
