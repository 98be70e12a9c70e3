"""What can be refused before torch is imported: damaged files, code in pickles, foreign links, names that match nothing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from dmun_audit.errors import LoadError, UsageError
from dmun_audit.models.formats import is_safetensors, recognise, require_match, require_unet
from dmun_audit.models.pickles import check_pickle
from dmun_audit.models.safetensors_header import read_header
from dmun_audit.references import ModelReference, atelier_own_base

PICKLE_SUFFIXES = {".bin", ".pt", ".ckpt"}


def cheap_check(reference: ModelReference, base: ModelReference) -> None:
    """Refuse what can be refused by headers alone: `reference` as the candidate, `base` as the model below or beside it.

    Raises UsageError for a base that is no complete model, and LoadError, naming the file and where possible the tensor,
    for damaged or dangerous files and for a safetensors file that does not fit the UNet of its base. Hub models are not
    looked at.
    """
    if base.kind == "weights":
        raise UsageError(
            f"--base={base.text} is a weights file",
            "a base is a complete model",
            "name a pipeline folder, a hub id or atelier:base",
        )
    below = atelier_own_base(reference) or base
    for folder in {model.path for model in (reference, base, below) if model.path is not None and model.path.is_dir()}:
        check_folder(folder)
    if reference.path is not None and not reference.path.is_dir():
        _check_weights(reference.path, below)


def _check_weights(path: Path, base: ModelReference) -> None:
    if not is_safetensors(path):
        check_pickle(path)
        return
    header = read_header(path)
    require_unet(path, header.shapes, header.metadata)
    shapes = unet_shapes(base.path) if base.path is not None and base.path.is_dir() else None
    if shapes is not None:
        require_match(path, header.shapes, shapes)
    elif not recognise(header.shapes):
        raise LoadError(f"{path} is of an unknown format", f"it has tensors such as {min(header.shapes)!r}")


def unet_shapes(folder: Path) -> dict[str, tuple[int, ...]] | None:
    """The shapes of a pipeline folder's UNet by tensor name; None where they are in no safetensors file."""
    files = sorted((folder / "unet").glob("*.safetensors"))
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= read_header(file).shapes
    return shapes if files else None


def check_folder(folder: Path) -> None:
    """Raise LoadError where a pipeline folder holds damaged or dangerous weights, code of its own, or links out of it."""
    _refuse_foreign_links(folder)
    for component in _components(folder):
        weights = sorted((folder / component).glob("*.safetensors"))
        for file in weights:
            read_header(file)
        if not weights:
            for file in sorted((folder / component).iterdir()) if (folder / component).is_dir() else []:
                if file.suffix in PICKLE_SUFFIXES:
                    check_pickle(file)


def read_model_index(folder: Path) -> dict[str, Any]:
    """The table in a pipeline folder's model_index.json; raises LoadError where it cannot be read."""
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise LoadError(f"{path} names no pipeline class", "", "save the pipeline again with save_pretrained")
    return index


def _components(folder: Path) -> list[str]:
    """The components that model_index.json names; each must come from diffusers or transformers, not from code beside it."""
    found = []
    for name, entry in read_model_index(folder).items():
        if name.startswith("_") or not isinstance(entry, list) or entry[:1] == [None]:
            continue
        library = entry[0] if len(entry) == 2 else None
        if not isinstance(library, str) or not (library in {"diffusers", "transformers"} or _is_pipeline_module(library)):
            raise LoadError(
                f"{folder / 'model_index.json'}: component {name!r} comes from {library!r}",
                "only classes of diffusers and transformers are loaded, no code beside the weights",
            )
        found.append(name)
    return found


def _is_pipeline_module(library: str) -> bool:
    """Old pipelines keep some classes, such as the safety checker, in a module of diffusers.pipelines."""
    spec = importlib.util.find_spec("diffusers")
    places = spec.submodule_search_locations if spec and library.isidentifier() else None
    return any((Path(place) / "pipelines" / library).is_dir() for place in places or [])


def _refuse_foreign_links(folder: Path) -> None:
    """A link may lead within the folder; in a hub cache (`snapshots/REVISION`) also to the `blobs` beside `snapshots`."""
    root = folder.resolve()
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for path in folder.rglob("*"):
        if path.is_symlink():
            end = path.resolve()
            if not any(end.is_relative_to(home) for home in homes):
                raise LoadError(
                    f"{path} is a link that leads out of the folder", f"it leads to {end}", "copy the file into the folder"
                )
