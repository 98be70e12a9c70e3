"""SHA256SUMS: the SHA-256 of every file of a run folder, in the format that `sha256sum -c` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmun_audit._util.errors import StoreError
from dmun_audit._util.hashing import digest_file
from dmun_audit.evidence.run_lock import LOCK
from dmun_audit.store.files import write_atomically

FILE = "SHA256SUMS"
STATEMENT = "attestation.json"
SIGNATURE = "attestation.dsse.json"
LOGS = "logs"

_NOT_LISTED = frozenset({FILE, STATEMENT, SIGNATURE, LOCK, LOGS})
"""The statement and its signature hold the digest of SHA256SUMS. The lock and the logs are no evidence."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def files_of(folder: Path) -> list[str]:
    """The relative paths of all files of a run folder that SHA256SUMS lists, in order."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name.split("/")[0] not in _NOT_LISTED and not _is_partial(name))


def write_checksums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write SHA256SUMS. `known` gives the digests of files that are about to be written.

    Raises StoreError if it cannot be written.
    """
    known = known or {}
    sums = {name: known.get(name) or digest_file(folder / name) for name in {*files_of(folder), *known}}
    _write(folder, sums)


def update_checksums(folder: Path, names: Sequence[str]) -> None:
    """Take the digests of these files again: a command has written them. Other lines stay as they are.

    Does nothing if the folder has no SHA256SUMS. Raises StoreError if the file cannot be read or written.
    """
    if (folder / FILE).is_file():
        _write(folder, read_checksums(folder) | {name: digest_file(folder / name) for name in names})


def read_checksums(folder: Path) -> dict[str, str]:
    """The digests that SHA256SUMS lists, by relative path. Raises StoreError if it cannot be read."""
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read", str(error), "run the audit again: it reuses its images") from None
    matched = [_LINE.fullmatch(line) for line in lines]
    if not all(matched):
        raise StoreError(f"{path} is damaged", "a line has no digest and file name", "run the audit again: it reuses its images")
    return {line[2]: line[1] for line in matched if line}


def contradictions(folder: Path) -> list[str]:
    """A sentence for each file that SHA256SUMS lists and that is missing or has another content."""
    try:
        sums = read_checksums(folder)
    except StoreError as error:
        return [f"{FILE} {'is missing' if not (folder / FILE).exists() else 'cannot be read'}: {error.why}."]
    found = []
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            found.append(f"{name} is listed in {FILE} and is missing.")
        elif digest_file(path) != expected:
            found.append(f"{name} changed after the verdict was decided: its SHA-256 is not the one in {FILE}.")
    return found


def not_listed(folder: Path) -> list[str]:
    """Files that lie in the run folder and that SHA256SUMS does not list."""
    return sorted(set(files_of(folder)) - read_checksums(folder).keys())


def _write(folder: Path, sums: Mapping[str, str]) -> None:
    write_atomically(folder / FILE, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())


def _is_partial(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".partial-")
