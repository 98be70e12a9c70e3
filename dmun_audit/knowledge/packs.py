"""The packs: dossiers that ship with the package, found by world and by the target's name or alias."""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import close_kind
from dmun_audit.knowledge.reading import parse_dossier, read_bytes, read_dossier
from dmun_audit.knowledge.words.texts import fold

FOLDER = Path(__file__).parent / "packs"


@cache
def _packs() -> dict[str, Dossier]:
    return {path.stem: read_dossier(path) for path in sorted(FOLDER.glob("*.json"))}


def find_pack(target: str, world: str) -> Dossier:
    """The pack of `world` ("atelier" or "real") whose target has this name or alias, in any case.

    Raises UsageError that lists the known targets.
    """
    known: dict[str, Dossier] = {}
    for dossier in _packs().values():
        if dossier.world == world:
            known |= {fold(name): dossier for name in (dossier.target.name, *dossier.target.aliases)}
    if fold(target) in known:
        return known[fold(target)]
    names = sorted({dossier.target.name for dossier in known.values()})
    close = difflib.get_close_matches(fold(target), list(known), n=1, cutoff=0.6)
    guess = f"did you mean {known[close[0]].target.name!r}?" if close else ""
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
    in_world = (other for other in _packs().values() if other.world == world)
    return next((other for other in in_world if fold(other.target.name) == fold(dossier.target.name)), dossier)


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
