"""Model references: what `--model` and `--base` may say, decided without importing torch."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, digest_bytes, digest_file

ATELIER = "atelier:"
WEIGHTS_FOLDER = Path(__file__).parent.parent / "atelier" / "weights"
IMAGES = "images:"
HOOK = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")
WEIGHTS_SUFFIXES = {".safetensors", ".pt", ".pth", ".ckpt", ".bin"}
MODEL_SUFFIXES = {".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".txt", ".model", ".py"}
IMAGE_LIST = "metadata.jsonl"
IMAGE_SUFFIXES = {".jsonl", ".png", ".jpg", ".jpeg", ".webp", ".bmp"}
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

    `text` is the user's spelling. `path` is the absolute folder or file (of a hook, the source of its module), and None for a hub
    model. `name` is the atelier's name, the hub id with its revision ("owner/name@revision") or the hook ("module:function"),
    and None for a path. Kind "weights" is laid over a base: a file, or the folder of one component or adapter. A "hook" is a
    Python function that gives the model; "images" were made elsewhere.
    """

    text: str
    kind: Literal["folder", "weights", "hub", "atelier", "hook", "images"]
    path: Path | None
    name: str | None


def parse_reference(text: str) -> ModelReference:
    """The model that `text` names. Raises UsageError, naming the path, where there is no such thing."""
    text = text.strip()
    if text.startswith(ATELIER):
        name = text.removeprefix(ATELIER)
        entry = atelier_entry(name)
        return ModelReference(text, "atelier", WEIGHTS_FOLDER / entry["path"], name)
    if not text:
        raise UsageError("an empty model reference", "", f"name {KINDS_OF_REFERENCE}")
    if text.startswith(IMAGES):
        return _images(text)
    path = Path(text).expanduser().absolute()
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
    folder = Path(text.removeprefix(IMAGES)).expanduser().absolute()
    if not (folder / IMAGE_LIST).is_file():
        raise UsageError(
            f"{text} names no folder of images",
            f"there is no {folder / IMAGE_LIST}",
            "list the images there, one JSON table a line, with file_name, prompt and seed; dmun-audit requests writes such a list",
        )
    return ModelReference(text, "images", folder, None)


def _source_of(text: str) -> Path:
    """The source file of a hook's module; found without importing it (but for the packages above it)."""
    module = text.partition(":")[0]
    if module.endswith(".py"):
        raise UsageError(f"{text} names a file", "a function is named by its module", f"write {text.replace('.py:', ':', 1)}")
    with on_path():
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{text} names a module that cannot be found", str(error), "check the spelling") from None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise UsageError(
            f"there is no model at {text}",
            f"no file has that name, and there is no Python module {module!r} here or among the installed ones",
            f"name {KINDS_OF_REFERENCE}",
        )
    return Path(spec.origin)


@contextmanager
def on_path() -> Iterator[None]:
    """With the current folder first among those that modules are imported from."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


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


def _kind_of_folder(folder: Path, text: str) -> Literal["folder", "weights"]:
    """A whole pipeline, or the weights of one component or adapter. Raises UsageError for every other folder."""
    if (folder / "model_index.json").is_file():
        return "folder"
    if any(file.suffix in WEIGHTS_SUFFIXES for file in folder.iterdir()):
        return "weights"
    why, remedy = (
        "it has no model_index.json and no weights file",
        "name the folder that save_pretrained of a whole pipeline wrote",
    )
    if (folder / IMAGE_LIST).is_file():
        why, remedy = f"it is a folder of images, with a {IMAGE_LIST}", f"write {IMAGES}{text}"
    raise UsageError(f"{text} is no pipeline folder", why, remedy)


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
    """The atelier model audited where no model is named."""
    return str(atelier_index()["default"])


def atelier_target(reference: ModelReference) -> str | None:
    """What an atelier model was made to forget; None for its base and for every other model."""
    if reference.kind != "atelier" or reference.name is None:
        return None
    target = atelier_entry(reference.name).get("target")
    return str(target) if target else None


def atelier_judge() -> Path:
    """The folder of the atelier's judge."""
    return WEIGHTS_FOLDER / str(atelier_index()["judge"])


def is_atelier(reference: ModelReference) -> bool:
    """Whether the model is one of the atelier's."""
    return reference.kind == "atelier"


def atelier_own_base(reference: ModelReference) -> ModelReference | None:
    """The base that an atelier weights file is laid over; None for an atelier folder and for every other model."""
    if reference.kind != "atelier" or reference.path is None or reference.path.is_dir():
        return None
    base = atelier_entry(reference.name or "").get("base")
    return parse_reference(f"{ATELIER}{base}") if base else None


# The base.


def default_base(candidate: ModelReference, ini_base: str | None) -> ModelReference:
    """The base where `--base` was not given: the ini file's, else the model card's, else `atelier:base`.

    Raises UsageError where none of them names one.
    """
    if ini_base:
        return parse_reference(ini_base)
    if candidate.kind == "folder" and candidate.path is not None:
        named = card_base(candidate.path / "README.md")
        if named:
            return parse_reference(named)
    if is_atelier(candidate):
        return parse_reference(ATELIER + "base")
    raise UsageError(
        f"--model={candidate.text} does not say which model it was made from",
        "there is no --base, no dmun_base in the ini file and no base_model in a model card beside it",
        "add --base=… with the model before unlearning",
    )


def card_base(card: Path) -> str | None:
    """`base_model` of a model card's YAML head: plain, quoted, or the first item of a list; None where there is none."""
    try:
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if not lines or lines[0].strip() != "---":
        return None
    ends = [number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---"]
    head = lines[1 : ends[0]] if ends else []
    for number, line in enumerate(head):
        if line.startswith("base_model:"):
            value = line.removeprefix("base_model:")
            following = head[number + 1] if number + 1 < len(head) else ""
            if not _scalar(value) and following.lstrip().startswith("- "):
                value = following.lstrip().removeprefix("- ")
            return _scalar(value) or None
    return None


def _scalar(value: str) -> str:
    value = re.sub(r"(^|\s)#.*$", "", value).strip()
    if value.startswith("["):
        value = value.strip("[]").split(",")[0].strip()
    return value.strip("\"'").strip()


# Digests of the files.


def source_digest(reference: ModelReference, cache: Path | None = None) -> str:
    """SHA-256 over the relative paths and contents of the model's own files; of a hub model, over its id and revision.

    A weights file counts alone, without the base below it, a hook by the source of its module. `cache` is a folder where file digests are kept, found again
    by path, size and modification time.
    """
    if reference.path is None:
        name, revision = hub_parts(reference)
        return digest_bytes(f"hub:{name}@{revision or 'main'}".encode())
    return digest([[name, _file_digest(path, cache)] for name, path in _model_files(reference.path)])


def _model_files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [(file.name, file) for file in (path, adapter_config(path)) if file is not None]
    suffixes = MODEL_SUFFIXES | (IMAGE_SUFFIXES if (path / IMAGE_LIST).is_file() else set())
    found = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.suffix.lower() in suffixes}
    hidden = {name for name in found if any(part.startswith(".") for part in name.split("/"))}
    return [(name, found[name]) for name in sorted(found) if name not in hidden and found[name].is_file()]


def adapter_config(weights: Path) -> Path | None:
    """peft's settings of an adapter: beside its `adapter_model` file, or in its folder; None where there are none."""
    folder = weights if weights.is_dir() else weights.parent if weights.name.startswith("adapter_model.") else None
    found = folder / "adapter_config.json" if folder is not None else None
    return found if found is not None and found.is_file() else None


def _file_digest(path: Path, cache: Path | None) -> str:
    try:
        if cache is None:
            return digest_file(path)
        facts = path.stat()
        known = cache / digest([str(path.resolve()), facts.st_size, facts.st_mtime_ns])
        if not known.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            known.write_text(digest_file(path), encoding="ascii")
        return known.read_text(encoding="ascii")
    except OSError as error:
        raise UsageError(f"{path} cannot be read", str(error)) from None
