"""What lies in a store on this machine, what of it is damaged, and what may go. A remote part is not looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dmun_audit.store.files import is_partial
from dmun_audit.store.images import ImageStore

DAY = 24 * 60 * 60  # seconds
KINDS = {
    "images": "images",
    "embeddings": "embeddings and scores of judges",
    "finds": "finds of attacks with the weights",
    "probes": "probes of models",
    "fingerprints": "digests of models",
    "attempts": "logs of attempts on each candidate",
    "speeds": "speeds",
    "locks": "locks",
}
"""The folders of a store, with what they hold."""

MAY_GO = ("images", "finds")
"""What is made again when it is needed. The logs of attempts never go: reports name all attempts on the same weights."""


@dataclass(frozen=True)
class Holding:
    """The files of one kind: their number, their bytes, and when the first and the last was written, in seconds since 1970."""

    kind: str
    words: str
    files: int
    size: int
    first: float
    last: float


def holdings(folder: Path) -> list[Holding]:
    """What a store holds, by kind; kinds without files are left out."""
    found = []
    for kind in dict.fromkeys([*KINDS, *(path.name for path in sorted(folder.iterdir()) if path.is_dir())]):
        facts = [path.stat() for path in _files(folder / kind)]
        if facts:
            times = [each.st_mtime for each in facts]
            found.append(
                Holding(kind, KINDS.get(kind, kind), len(facts), sum(each.st_size for each in facts), min(times), max(times))
            )
    return found


def is_store(folder: Path) -> bool:
    """Whether a folder is empty, or has a folder of a store and is no run folder, which has images too."""
    names = {path.name for path in folder.iterdir()}
    return not names or (not names.isdisjoint(KINDS) and "manifest.json" not in names)


def damaged(folder: Path, is_whole_find: Callable[[str], bool]) -> Iterator[Path]:
    """The images and finds that are not what was written under their keys, and what killed processes left half written.

    `is_whole_find` says of a key whether its find can be read.
    """
    images = ImageStore(folder)
    for path in _files(folder / "images"):
        if is_partial(path) or (path.suffix == ".png" and not images.is_whole_here(path.stem)):
            yield path
    for path in _files(folder / "finds"):
        if is_partial(path) or (path.suffix == ".safetensors" and not is_whole_find(path.stem)):
            yield path


def removable(folder: Path, days: float, kept: Collection[str]) -> list[Path]:
    """The images and finds that were written more than so many days ago and whose keys are not in `kept`, the oldest first.

    Checkpoints of attacks that never ended go too. A store does not know when a file was last used.
    """
    before = time.time() - days * DAY
    files = [path for kind in MAY_GO for path in _files(folder / kind) if path.suffix != ".lock" and path.stem not in kept]
    return sorted((path for path in files if path.stat().st_mtime < before), key=lambda path: path.stat().st_mtime)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
