"""The options of an audit as the user gives them. Loads neither torch nor scipy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.engines.choice import LOCAL
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.models.references import ModelReference
from dmun_audit.policy import Policy
from dmun_audit.store.remote import is_url, local_part

FIDELITY = "fidelity"
PROFILES = (FIDELITY, "fast")
"""What --profile may say."""


@dataclass(frozen=True)
class Options:
    """The options for one model and one target; None for an option that was not given.

    The Python API may give a dossier and a policy as objects, and the reference of a pipeline in memory. `world` is then the
    world of the base model.
    """

    target: str | None = None
    model: str | ModelReference | None = None
    base: str | ModelReference | None = None
    knowledge: str | Dossier | None = None
    policy: str | Policy | None = None
    judge: str | None = None
    detector: str | None = None
    second_judge: str | None = None
    composition_judge: str | None = None
    metric: tuple[str, ...] = ()
    unrelated: str | None = None
    probe_control: str | None = None
    probe_adapter: str | None = None
    regress: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    max_probe_minutes: float | None = None
    audit_dir: str | None = None
    store: str | None = None
    audit_seed: int | None = None
    nonce: str | None = None
    engine: str = LOCAL
    offload: str | None = None
    profile: str = FIDELITY
    keep_going: bool = False
    no_images: bool = False
    allow_sensitive: bool = False
    trust_remote_code: bool = False
    track: str | None = None
    ini_base: str | None = None
    root: str = "."
    world: World | None = None


def store_of(options: Options) -> Path:
    """The folder of the store on this machine. See `store_named`."""
    return store_named(options.store)


def store_named(text: str | None) -> Path:
    """The folder of the store that `--store` names by `text`: a folder, or a URL with a folder of this machine in front of it.

    Without `text` it lies in the user's cache folder. See `local_part` for the errors of a URL.
    """
    if text and is_url(text):
        return local_part(text)
    return expanded(text, f"--store={text}") if text else Path(platformdirs.user_cache_dir("dmun_audit")) / "store"


def is_lost(value: Any) -> bool:
    """Whether argparse has lost the value of an option. It reads `--target=--` as the end of all options, and leaves a list."""
    return value == [] or (isinstance(value, list) and [] in value)


def lost_value(option: str) -> UsageError:
    """The error for an option whose value is `--`."""
    return UsageError(
        f"{option}=-- has no value", "-- alone ends the options of a command line", "give it a value, or omit the option"
    )


def refuse_empty(options: Options) -> None:
    """Raise UsageError for an empty option. An unset variable in a CI file must not select the default."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    texts = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    empty = [name for name, each in texts.items() if any(isinstance(text, str) and not text.strip() for text in each)]
    if empty:
        raise empty_value("dmun_base in the ini file" if empty[0] == "ini_base" else "--" + empty[0].replace("_", "-"))


def empty_value(option: str) -> UsageError:
    """The error for an option whose value is empty."""
    return UsageError(f"{option} is empty", "perhaps a variable is not set", "give it a value, or omit the option")
