"""SHA256SUMS: the SHA-256 of every file of a run folder, in the format that `sha256sum -c` reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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
    return sorted(name for name in names if name.split("/")[0] not in _NOT_LISTED)


def write_checksums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write SHA256SUMS. `known` gives the digests of files that are about to be written.

    Raises StoreError if it cannot be written.
    """
    known = known or {}
    sums = {name: known.get(name) or digest_file(folder / name) for name in {*files_of(folder), *known}}
    _write(folder, sums)


def update_checksums(folder: Path, names: Sequence[str], statement: Callable[[bytes], bytes]) -> None:
    """Take the digests of these files again: a command has written them. Other lines stay as they are.

    `statement` makes the attestation from the new SHA256SUMS. Where anything changed, an earlier signature is removed. Does nothing
    if the folder has no SHA256SUMS. Raises StoreError if a file cannot be read or written.
    """
    if not (folder / FILE).is_file():
        return
    before = read_checksums(folder)
    after = before | {name: digest_file(folder / name) for name in names}
    if after != before:
        _write(folder, after)
        write_attestation(folder, statement)


def write_attestation(folder: Path, statement: Callable[[bytes], bytes]) -> None:
    """Write the attestation that `statement` makes from SHA256SUMS, and remove the signature of an earlier one."""
    write_atomically(folder / STATEMENT, statement((folder / FILE).read_bytes()))
    (folder / SIGNATURE).unlink(missing_ok=True)


def read_checksums(folder: Path) -> dict[str, str]:
    """The digests that SHA256SUMS lists, by relative path. Raises StoreError if it cannot be read."""
    path, remedy = folder / FILE, "run the audit again: it reuses its images"
    try:
        sums = parsed(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read", error.strerror or str(error), remedy) from None
    if sums is None:
        raise StoreError(f"{path} is damaged", "a line has no digest and file name", remedy)
    return sums


def parsed(content: bytes) -> dict[str, str] | None:
    """The digests in the content of SHA256SUMS, by relative path; None if a line is damaged."""
    matched = [_LINE.fullmatch(line) for line in content.decode(errors="replace").splitlines()]
    return {line[2]: line[1] for line in matched if line} if all(matched) else None


def contradictions(folder: Path) -> dict[str, str]:
    """The files that SHA256SUMS does not list, and the listed ones that are missing or have another content.

    Each comes by its relative path, with a sentence on it.
    """
    try:
        sums = read_checksums(folder)
    except StoreError as error:
        return {FILE: f"{FILE} cannot be read: {error.why}." if (folder / FILE).exists() else f"{FILE} is missing."}
    found = {}
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            found[name] = f"{name} is listed in {FILE} and is missing."
        elif _digest(path) != expected:
            found[name] = f"{name} changed after the verdict was decided: its SHA-256 is not the one in {FILE}."
    return found | {name: f"{name} was added: {FILE} does not list it." for name in files_of(folder) if name not in sums}


def _digest(path: Path) -> str:
    """The SHA-256 of a file; empty for a file that cannot be read."""
    try:
        return digest_file(path)
    except OSError:
        return ""


def _write(folder: Path, sums: Mapping[str, str]) -> None:
    write_atomically(folder / FILE, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())
