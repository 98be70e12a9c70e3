"""The packs: dossiers that ship with the package, found by world and by the target's name or alias."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import close_kind
from dmun_audit.knowledge.reading import parse_dossier, read_bytes, read_dossier
from dmun_audit.knowledge.words.texts import fold

FOLDER = Path(__file__).parent / "packs"


@dataclass(frozen=True)
class _Entry:
    """What a pack is found by. The pack itself is read and validated only when it is used."""

    path: Path
    world: str
    target: str
    names: tuple[str, ...]  # of the target, folded


@cache
def _entries() -> tuple[_Entry, ...]:
    return tuple(map(_entry, sorted(FOLDER.glob("*.json"))))


def _entry(path: Path) -> _Entry:
    values = json.loads(path.read_bytes())
    target = values["target"]
    return _Entry(path, values["world"], target["name"], tuple(map(fold, [target["name"], *target.get("aliases", [])])))


@cache
def _pack(path: Path) -> Dossier:
    return read_dossier(path)


def find_pack(target: str, world: str) -> Dossier:
    """The pack of `world` ("atelier" or "real") whose target has this name or alias, in any case.

    Raises UsageError that lists the known targets.
    """
    known = {name: entry for entry in _entries() if entry.world == world for name in entry.names}
    if fold(target) in known:
        return _pack(known[fold(target)].path)
    names = sorted({entry.target for entry in known.values()})
    close = difflib.get_close_matches(fold(target), list(known), n=1, cutoff=0.6)
    guess = f"did you mean {known[close[0]].target!r}?" if close else ""
    raise UsageError(
        f"no dossier for target {target!r} ships for {world} models",
        guess or f"known targets: {', '.join(names) or 'none'}",
        f"give one with --knowledge=PATH; `dmun-audit dossier build {target!r} --llm=…` makes one",
    )


def open_knowledge(reference: str, world: str | None = None) -> Dossier:
    """The dossier that `--knowledge` names: the path of a file, or the name of a pack.

    A pack of another world than `world` gives way to the pack of the same target in that world: over the base of the
    atelier, "van-gogh" is "atelier-van-gogh".
    """
    data, origin = read_knowledge(reference)
    dossier = parse_dossier(data, origin)
    if reference not in pack_names() or world in (None, dossier.world):
        return dossier
    in_world = (entry for entry in _entries() if entry.world == world and fold(entry.target) == fold(dossier.target.name))
    return next((_pack(entry.path) for entry in in_world), dossier)


def read_knowledge(reference: str) -> tuple[bytes, str]:
    """The content of a dossier's file or of a pack, and its name for errors. Raises UsageError if there is none."""
    names = pack_names()
    path = FOLDER / f"{reference}.json" if reference in names else expanded(reference)
    if not os.path.isfile(path):  # unlike Path.is_file, it accepts a name that no file can have
        close = difflib.get_close_matches(reference, names, n=1)
        guess = close_kind(reference) if ":" in reference else ""
        guess = guess or (f"did you mean {close[0]!r}? " if close else "")
        raise UsageError(f"{reference} is neither a dossier's file nor a pack", "", f"{guess}packs: {', '.join(names)}")
    return read_bytes(path, f"dossier {path}"), reference


def pack_names() -> list[str]:
    """The names of the packs."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))
