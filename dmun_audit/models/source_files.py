"""A model's own files: their digest, and whether they may have changed since it was taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest, digest_bytes, digest_file
from dmun_audit.models.references import IMAGE_LIST, WEIGHTS_SUFFIXES, ModelReference, hub_parts

MODEL_SUFFIXES = {".json", ".txt", ".model", ".py"} | WEIGHTS_SUFFIXES
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
IMAGE_SUFFIXES = {".jsonl"} | PICTURE_SUFFIXES
COARSEST_CLOCK = 2_000_000_000  # nanoseconds; FAT keeps the time of a change to two seconds

DIGEST_OF_A_FILE = "the SHA-256 of its bytes, as sha256sum prints it"
DIGEST_OF_FILES = "the SHA-256 over the names and the digests of these files"
DIGEST_OF_TENSORS = "the SHA-256 over all tensors in memory, without any settings; seeds follow from it"
DIGEST_AS_LOADED = (
    "the SHA-256 over all tensors in memory (component, name, type, shape, bytes) and the settings of all components, whatever "
    "file they came from"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A model's files at the time when they were read.

    `digest` is SHA-256 (64 hex digits) over relative paths and contents. `state` is another value as soon as the size, a time or
    the inode of a file is another one. It is empty where a file was changed just before it was read: another change might then
    not show. `files` has the SHA-256 of each file by its name, without pictures.
    """

    digest: str
    state: str = ""
    files: Mapping[str, str] = field(default_factory=dict, compare=False)


def source_digest(reference: ModelReference) -> str:
    """SHA-256 over the relative paths and contents of the model's own files; over id and revision of a hub model.

    A weights file counts without the base below it. A hook counts by the source of its module, and a pipeline in memory by its
    weights.
    """
    return read_source(reference).digest


def read_source(reference: ModelReference) -> Source:
    """The digest of the model's files, with their state. Raises UsageError where a file cannot be read."""
    if reference.kind == "memory":
        return Source(digest_bytes(f"memory:{reference.name}".encode()))
    if reference.path is None:
        name, revision = hub_parts(reference)
        return Source(digest_bytes(f"hub:{name}@{revision or 'main'}".encode()))
    started, clock = time.time_ns(), time.monotonic()
    files = _model_files(reference.path)
    before, newest = _state(files)
    try:
        digests = {name: digest_file(path) for name, path in files}
        total = digest([[name, each] for name, each in digests.items()])
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read", str(error)) from None
    logger.debug("hashed %d files of %s in %.2f s: %s", len(files), reference.text, time.monotonic() - clock, total)
    settled = newest < started - COARSEST_CLOCK and _state(files)[0] == before
    listed = {name: each for name, each in digests.items() if Path(name).suffix.lower() not in PICTURE_SUFFIXES}
    return Source(total, before if settled else "", listed)


def confirm_source(reference: ModelReference, planned: Source | None) -> str:
    """The digest of the files that a model was loaded from. The files are read only if they may have changed since `planned`.

    Raises LoadError where they changed since the audit was planned.
    """
    if planned is None:
        return source_digest(reference)
    if planned.state and reference.path is not None and _state(_model_files(reference.path))[0] == planned.state:
        return planned.digest
    current = source_digest(reference)
    if current != planned.digest:
        raise LoadError(
            f"{reference.text} changed after the audit was planned",
            f"its files had the digest {planned.digest[:16]}… and have {current[:16]}… now",
            "run the audit again once the model is complete",
        )
    return current


def adapter_config(weights: Path) -> Path | None:
    """peft's settings of an adapter: beside its `adapter_model` file, or in its folder; None where there are none."""
    folder = weights if weights.is_dir() else weights.parent if weights.name.startswith("adapter_model.") else None
    path = folder / "adapter_config.json" if folder is not None else None
    return path if path is not None and path.is_file() else None


def _model_files(path: Path) -> list[tuple[str, Path]]:
    """Relative name and path of every file that belongs to the model at `path`, in order. Hidden files do not count."""
    if path.is_file():
        return [(file.name, file) for file in (path, adapter_config(path)) if file is not None]
    suffixes = MODEL_SUFFIXES | (IMAGE_SUFFIXES if (path / IMAGE_LIST).is_file() else set())
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.suffix.lower() in suffixes}
    return [
        (name, files[name])
        for name in sorted(files)
        if files[name].is_file() and not any(part.startswith(".") for part in name.split("/"))
    ]


def _state(files: list[tuple[str, Path]]) -> tuple[str, int]:
    """A digest of the files' sizes, times and inodes, and the newest of these times (nanoseconds since 1970)."""
    facts, newest = [], 0
    for name, path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise UsageError(f"{path} cannot be read", str(error)) from None
        facts.append([name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
        newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
    return digest(facts), newest
