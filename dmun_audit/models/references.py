"""Model references: what `--model` and `--base` may say. Decided without importing torch."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.models.model_card import card_base

ATELIER = "atelier:"
WEIGHTS_FOLDER = Path(__file__).parent.parent / "atelier" / "weights"
IMAGES = "images:"
PIPELINE = "pipeline:"
HOOK = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")
WEIGHTS_SUFFIXES = {".safetensors", ".pt", ".pth", ".ckpt", ".bin"}
TRAINING_STATE = re.compile(
    r"(optimizer|scheduler|scaler|sampler|random_states|rng_state)(_\d+)?\."
)  # of accelerate's checkpoints
COMPONENT = re.compile(r"(unet|transformer|vae|text_encoder(_\d)?|controlnet)(_ema)?")
IMAGE_LIST = "metadata.jsonl"
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
NO_COMPLETE_MODEL = {
    "weights": "weights to lay over a base",
    "hook": "a Python function",
    "images": "a folder of images",
}  # by kind
KINDS_OF_REFERENCE = (
    "a pipeline folder, a weights file, a hub id such as owner/name, atelier:NAME, module:function, or images:FOLDER"
)


@dataclass(frozen=True)
class ModelReference:
    """A model as the user named it.

    `text` is the user's spelling. `path` is the absolute folder or file, and None for a hub model and a pipeline in memory; for a
    hook it is the source file of the function's module. `name` is the atelier's name, the hub id with its revision
    ("owner/name@revision"), the hook ("module:function") or the digest of a pipeline in memory, and None for a path.

    Kinds: a "folder" is a whole pipeline. "weights" are laid over a base: one file, or the folder of one component or adapter. A
    "hook" is a Python function that returns the model. "images" were made outside of the audit. A "memory" model is a pipeline
    that a Python caller passed.
    """

    text: str
    kind: Literal["folder", "weights", "hub", "atelier", "hook", "images", "memory"]
    path: Path | None
    name: str | None


def parse_reference(text: str) -> ModelReference:
    """The model that `text` names. Raises UsageError, naming the path, where there is none."""
    text = text.strip()
    if text.startswith(ATELIER):
        name = text.removeprefix(ATELIER)
        entry = atelier_entry(name)
        return ModelReference(text, "atelier", WEIGHTS_FOLDER / entry["path"], name)
    if not text:
        raise UsageError("an empty model reference", "", f"name {KINDS_OF_REFERENCE}")
    if text.startswith(IMAGES):
        return _images(text)
    path = expanded(text).absolute()
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise UsageError(f"{text} cannot be read", str(error)) from None
    if path.is_dir():
        return ModelReference(text, _kind_of_folder(path, text), path, None)
    if path.is_file():
        return ModelReference(text, "weights", path, None)
    if HOOK.fullmatch(text):
        return ModelReference(text, "hook", _source_of(text), text)
    if _may_be_hub(text):
        return ModelReference(text, "hub", None, text)
    raise UsageError(f"there is no model at {text}", f"{path} does not exist", f"name {KINDS_OF_REFERENCE}")


def _images(text: str) -> ModelReference:
    folder = expanded(text.removeprefix(IMAGES), text).absolute()
    if not os.path.isfile(folder / IMAGE_LIST):  # unlike Path.is_file, it takes a name that no file can have
        raise UsageError(
            f"{text} names no folder of images",
            f"there is no {folder / IMAGE_LIST}",
            "list the images there, one JSON table a line, with file_name, prompt and seed; dmun-audit requests writes such a list",
        )
    return ModelReference(text, "images", folder, None)


def _source_of(text: str) -> Path:
    """The source file of a hook's module."""
    module = text.partition(":")[0]
    if module.endswith(".py"):
        raise UsageError(f"{text} names a file", "a function is named by its module", f"write {text.replace('.py:', ':', 1)}")
    try:
        spec = _find_module(module)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{text} names a module that cannot be found", str(error), "check the spelling") from None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise UsageError(
            f"there is no model at {text}",
            f"no file has that name, and there is no Python module {module!r} here or among the installed ones",
            f"name {KINDS_OF_REFERENCE}",
        )
    return Path(spec.origin)


def _find_module(name: str) -> ModuleSpec | None:
    """Where a module would be imported from, with the current folder before `sys.path`; nothing is imported."""
    places: Sequence[str] = [os.getcwd(), *sys.path]
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        specs = (finder.find_spec(package, places) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        if length == len(parts) or spec is None:
            return spec
        places = list(spec.submodule_search_locations or [])
    return None


def names_function(text: str) -> bool:
    """Whether a reference names a Python function: module:function."""
    return bool(HOOK.fullmatch(text)) and not text.startswith((ATELIER, IMAGES, PIPELINE))


def _may_be_hub(text: str) -> bool:
    matched = HUB_ID.fullmatch(text)
    if matched is None or text.startswith((".", "/", "~", "-")):
        return False
    return Path(matched["name"]).suffix not in WEIGHTS_SUFFIXES


def hub_parts(reference: ModelReference) -> tuple[str, str | None]:
    """The id and the revision (None for the default one) of a hub reference."""
    matched = HUB_ID.fullmatch(reference.name or "")
    if matched is None:
        raise ValueError(f"{reference.text} is no hub reference.")
    return matched["name"], matched["revision"]


def is_pipeline_folder(path: Path) -> bool:
    """Whether a path is the folder of a whole pipeline, and no file and no folder of one component or adapter."""
    return (path / "model_index.json").is_file()


def _kind_of_folder(folder: Path, text: str) -> Literal["folder", "weights"]:
    """A whole pipeline, or the weights of one component or adapter. Raises UsageError for every other folder."""
    if is_pipeline_folder(folder):
        return "folder"
    weights = [file for file in folder.iterdir() if file.suffix in WEIGHTS_SUFFIXES]
    state = sorted(file.name for file in weights if TRAINING_STATE.match(file.name))
    if len(weights) > len(state):
        return "weights"
    why, remedy = (
        f"it has no model_index.json and no weights file{f', only state of a training ({state[0]})' if state else ''}",
        "name the folder that save_pretrained of a whole pipeline wrote",
    )
    parts = sorted(part for part in folder.iterdir() if part.is_dir() and COMPONENT.fullmatch(part.name) and _has_weights(part))
    if parts:
        why += f"; there are weights in {', '.join(part.name for part in parts)}"
        remedy = f"name {' or '.join(str(Path(text) / part.name) for part in parts)}, with --base=… for all else"
    if (folder / IMAGE_LIST).is_file():
        why, remedy = f"it is a folder of images, with a {IMAGE_LIST}", f"write {IMAGES}{text}"
    raise UsageError(f"{text} is no pipeline folder", why, remedy)


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in WEIGHTS_SUFFIXES for file in folder.iterdir())


# The atelier.


def atelier_index() -> dict[str, Any]:
    """The atelier's index: `models` (name → path, target, base), `default` and `judge`. Raises UsageError where it is missing."""
    path = WEIGHTS_FOLDER / "index.json"
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "the atelier's models are not in this installation",
            f"{path} cannot be read: {error}",
            "install the package again, or name a model of your own with --model and --base",
        ) from None
    return index


def atelier_entry(name: str) -> dict[str, Any]:
    """What the index says of one atelier model: `path`, `target` and `base`. Raises UsageError for an unknown name."""
    models: dict[str, dict[str, Any]] = atelier_index()["models"]
    if name not in models:
        close = difflib.get_close_matches(name, models, n=1)
        raise UsageError(
            f"the atelier has no model {name!r}",
            f"it has {', '.join(models)}",
            f"did you mean {ATELIER}{close[0]}?" if close else "",
        )
    return models[name]


def atelier_default() -> str:
    """The name of the atelier model that is audited where no model is named."""
    return str(atelier_index()["default"])


def atelier_target(reference: ModelReference) -> str | None:
    """What an atelier model was made to forget; None for its base and for every other model."""
    if reference.kind != "atelier" or reference.name is None:
        return None
    target = atelier_entry(reference.name).get("target")
    return str(target) if target else None


def atelier_without(target: str) -> str | None:
    """The name of the atelier model that was trained without a target; None if there is none."""
    name = atelier_index().get("trained_without", {}).get(target)
    return str(name) if name else None


def atelier_judge() -> Path:
    """The folder of the atelier's judge."""
    return WEIGHTS_FOLDER / str(atelier_index()["judge"])


def is_atelier(reference: ModelReference) -> bool:
    """Whether the user named one of the atelier's models."""
    return reference.kind == "atelier"


def atelier_own_base(reference: ModelReference) -> ModelReference | None:
    """The base that an atelier model is laid over; None for an atelier model that is a pipeline folder, and for every other model."""
    if reference.kind != "atelier" or reference.path is None or is_pipeline_folder(reference.path):
        return None
    base = atelier_entry(reference.name or "").get("base")
    return parse_reference(f"{ATELIER}{base}") if base else None


# The base.


def default_base(candidate: ModelReference, ini_base: str | None) -> ModelReference:
    """The base where `--base` was not given: the ini file's, else the model card's, else `atelier:base` for an atelier model.

    Raises UsageError where none of them names one.
    """
    if ini_base:
        return parse_reference(ini_base)
    if candidate.kind == "folder" and candidate.path is not None:
        base = card_base(candidate.path / "README.md")
        if base:
            return parse_reference(base)
    if is_atelier(candidate):
        return parse_reference(ATELIER + "base")
    unnamed = "there is no --base, no dmun_base in the ini file and no base_model in a model card beside it"
    if candidate.kind == "hub":
        raise UsageError(
            f"--model={candidate.text} is no file or folder here, and nothing says which model it was made from",
            f"so it would be a model of the hub, and {unnamed}",
            "correct the path, or add --base=… with the model before unlearning",
        )
    raise UsageError(
        f"--model={candidate.text} does not say which model it was made from",
        unnamed,
        "add --base=… with the model before unlearning",
    )
