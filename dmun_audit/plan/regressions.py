"""Regression cases: what an attack of an earlier audit found, frozen, to be tried on the next candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest
from dmun_audit._util.untrusted import parse_json, read_within
from dmun_audit.evidence.inputs import FROZEN
from dmun_audit.evidence.schema import Record
from dmun_audit.plan.case import ImageRequest, Recipe, Setting

FIND = "find"
"""The setting of a recipe that names a frozen find by the SHA-256 of its file. The probe then draws with it and searches nothing."""


MOST_BYTES = 100_000_000  # of the file that keeps regressions


class Unit(Record):
    """A prompt with a seed."""

    prompt: str
    index: int
    seed: int


class FrozenFind(Record):
    """A find of an earlier audit, and the units that it was drawn for. `path` is where its file lies on this machine."""

    key: str = Field(description="Its key in the store of the earlier audit.")
    sha256: str = Field(description="SHA-256 of its file.")
    units: tuple[Unit, ...]
    together: bool = Field(default=False, description="Whether it was made for just these units, in their order.")
    path: Path = Field(default=Path(), exclude=True)


class Regression(Record):
    """What one probe found at one dose in an earlier audit. `counts` says whether the case counts in the verdict."""

    run: str = Field(description="The hash of the earlier audit.")
    base: str = Field(description="The digest of the base's files there.")
    probe: str
    version: int = Field(description="The version of the probe there.")
    dose: str
    kind: str = Field(description="One of: tokens, embedding, latents, adapter, classifier.")
    settings: tuple[tuple[str, Setting], ...] = Field(description="The settings of the probe at this dose.")
    names: tuple[str, ...] = Field(description="The names of the target in the earlier audit.")
    hits: int = Field(description="Images of the earlier candidate that showed the target.")
    trials: int = Field(description="Images of the earlier candidate.")
    counts: bool = True
    finds: tuple[FrozenFind, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the places of files on this machine."""
        return digest(self.to_json())

    def placed(self, folder: Path) -> Regression:
        """The same regression, with the files of its finds in a folder, each under its SHA-256."""
        finds = tuple(find.model_copy(update={"path": folder / f"{find.sha256}.safetensors"}) for find in self.finds)
        return self.model_copy(update={"finds": finds})

    def requests(self) -> list[list[ImageRequest]]:
        """The images of the candidate with the finds: one row for each find."""
        return [self._row(find) for find in self.finds]

    def _row(self, find: FrozenFind) -> list[ImageRequest]:
        units = tuple(ImageRequest("base", unit.prompt, unit.index, unit.seed) for unit in find.units)
        settings = (*self.settings, (FIND, find.sha256))
        recipe = Recipe(self.probe, settings, units if find.together else (), (), self.names)
        return [ImageRequest("candidate", unit.prompt, unit.index, unit.seed, recipe) for unit in units]


def as_plain(regressions: tuple[Regression, ...]) -> list[dict[str, Any]]:
    """Regressions as values for JSON, with the places of their files."""
    return [
        each.to_json() | {"finds": [find.to_json() | {"path": str(find.path)} for find in each.finds]} for each in regressions
    ]


def from_plain(values: list[dict[str, Any]]) -> tuple[Regression, ...]:
    """The regressions that `as_plain` wrote."""
    return tuple(Regression.model_validate(value) for value in values)


def kept_regressions(path: Path) -> tuple[Regression, ...]:
    """The regressions that a run folder keeps in the file at `path`; none if there is no such file.

    Raises UsageError if the file is damaged.
    """
    if not path.exists():
        return ()
    try:
        each = from_plain(parse_json(read_within(path, MOST_BYTES)))
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read", str(error).partition("\n")[0], "use an unchanged copy of the folder") from None
    return tuple(regression.placed(path.parent / FROZEN) for regression in each)
