"""A campaign file: the options of an audit in TOML, with several models and targets."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit._util.untrusted import read_within
from dmun_audit.config.campaign import NamedModel
from dmun_audit.config.options import Options
from dmun_audit.store.remote import is_url

MOST_BYTES = 1_000_000
NO_KEYS = frozenset({"ini_base", "root", "world"})
"""Fields of `Options` that are no option."""

RUNS = ("regress", "baseline")
"""Keys that name run folders."""

REPEATED = (*RUNS, "metric")
"""Keys of options that may be repeated, besides models, targets and dossiers."""

LISTS = ("model", "target", "knowledge", *REPEATED)
"""Keys that take one text or a list of texts."""

PATHS = frozenset({"unrelated", "probe-adapter", "audit-dir", "campaign-dir", "store"})
"""Keys that always name a file or a folder. Other texts are paths where a file or folder of that name stands beside the file."""

NAMES = frozenset({"policy", "knowledge"})
"""Keys that also take the name of something that ships: a bare word is that name, whatever stands beside the file."""


@dataclass(frozen=True)
class CampaignFile:
    """The content of a campaign file. `options` are the values of single options, by the names of the fields of `Options`."""

    models: tuple[NamedModel, ...] = ()
    targets: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None


def read_campaign_file(text: str) -> CampaignFile:
    """Read the campaign file of that path. Paths in it are relative to the file.

    Raises UsageError for a file that cannot be read, an unknown key, and a value of the wrong kind.
    """
    path = expanded(text, f"--campaign={text}")
    table = _parsed(path)
    values = {key: _checked(path, key, value) for key, value in table.items()}
    names = values["model"].values() if isinstance(values.get("model"), dict) else values.get("model", ())
    labels = list(values["model"]) if isinstance(values.get("model"), dict) else [""] * len(names)
    here = path.parent
    return CampaignFile(
        models=tuple(NamedModel(_from(here, name), label) for name, label in zip(names, labels, strict=True)),
        targets=tuple(values.get("target", ())),
        knowledge=tuple(_path_of(here, "knowledge", each) for each in values.get("knowledge", ())),
        options={
            key.replace("-", "_"): _path_of(here, key, value)
            for key, value in values.items()
            if key not in {*LISTS, "campaign-dir"}
        }
        | {key: tuple(_beside(here, each) for each in values[key]) for key in RUNS if key in values}
        | ({"metric": tuple(_from(here, each) for each in values["metric"])} if "metric" in values else {}),
        folder=_path_of(here, "campaign-dir", values["campaign-dir"]) if "campaign-dir" in values else None,
    )


def keys() -> dict[str, type]:
    """The keys of a campaign file with the types of their values. They have the names of the options."""
    kinds: dict[str, type] = {}
    for each in fields(Options):
        if each.name not in NO_KEYS:
            words = str(each.type)
            kinds[each.name.replace("_", "-")] = bool if words == "bool" else int if words.startswith("int") else str
    return kinds | {"campaign-dir": str}


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_within(path, MOST_BYTES).decode())
    except FileNotFoundError:
        raise UsageError(f"there is no campaign file {path}", "", "check the path of --campaign") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"campaign file {path} is no TOML", str(error), "correct that line") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"campaign file {path} cannot be read", str(error), "give a TOML file") from None


def _checked(path: Path, key: str, value: Any) -> Any:
    """The value of a key: a list for `LISTS`, or a table for named models. Raises UsageError for what the key does not take."""
    known = keys()
    if key not in known:
        close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
        raise UsageError(
            f"campaign file {path}: unknown key {key!r}",
            f"did you mean {close[0]!r}?" if close else "",
            f"valid keys: {', '.join(known)}",
        )
    if key not in LISTS:
        if type(value) is not known[key] or value == "":
            kinds = {bool: "true or false", int: "a whole number", str: "a text that is not empty"}
            raise UsageError(
                f"campaign file {path}: {key} = {value!r} is not a valid value", "", f"expected: {kinds[known[key]]}"
            )
        return value
    members = list(value.values()) if key == "model" and isinstance(value, dict) else [value] if isinstance(value, str) else value
    if not isinstance(members, list) or not members or not all(isinstance(each, str) and each.strip() for each in members):
        also = ', or a table of references by name, such as "ESD" = "esd.safetensors"' if key == "model" else ""
        raise UsageError(
            f"campaign file {path}: {key} = {value!r} is not a valid value", "", f"expected: a text, or a list of texts{also}"
        )
    return value if isinstance(value, dict) else members


def _path_of(folder: Path, key: str, value: Any) -> Any:
    if not isinstance(value, str) or (key == "store" and is_url(value)):
        return value
    if key in PATHS:
        return _beside(folder, value)
    return value if key in NAMES and not _is_spelt_as_path(value) else _from(folder, value)


def _is_spelt_as_path(text: str) -> bool:
    return "/" in text or Path(text).suffix in {".toml", ".json"}


def _from(folder: Path, text: str) -> str:
    """A reference with the paths in it relative to `folder`: `PATH`, `kind:PATH` or `kind:PATH#PATH`, where PATH may be a reference too."""
    if _stands(folder, text):
        return _beside(folder, text)
    kind, colon, rest = text.partition(":")
    if not colon or "//" in rest[:2]:
        return text
    parts = [_from(folder, part) for part in rest.split("#")]
    return f"{kind}:{'#'.join(parts)}"


def _stands(folder: Path, text: str) -> bool:
    return bool(text) and os.path.exists(folder / text)  # unlike Path.exists, it takes a name that no file can have


def _beside(folder: Path, text: str) -> str:
    """A path in the file as a path from the current folder, if it is in there: as a user would give it on the command line."""
    path = os.path.abspath(folder / expanded(text))
    shorter = os.path.relpath(path)
    return path if os.path.isabs(text) or shorter.startswith(os.pardir) else shorter
