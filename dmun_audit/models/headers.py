"""Checks before torch is imported: damaged files, code in pickles, links out of a folder, names without a place in the base."""

from __future__ import annotations

import importlib.util
import stat
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.artifacts.formats import lay_out
from dmun_audit.models.artifacts.layout import Shapes, canonical_name
from dmun_audit.models.configurations import TRUST, check_configurations, read_table
from dmun_audit.models.files.contents import PICKLE_SUFFIXES, OpenContents, is_safetensors, weights_files
from dmun_audit.models.files.pickles import check_pickle
from dmun_audit.models.files.safetensors_header import read_header
from dmun_audit.models.files.shards import require_complete, variant_of
from dmun_audit.models.pipeline_class import require_known_class
from dmun_audit.models.references import NO_COMPLETE_MODEL, ModelReference, atelier_own_base, is_pipeline_folder
from dmun_audit.models.single_file import FOLDER, way_to_a_base

CHECKERS = frozenset({"safety_checker"})  # they blacken images, which an audit needs to see; they are not loaded
LONGEST_COMPONENT = 100  # characters of its name
LOADED_FIRST = ("model", "diffusion_pytorch_model")  # the libraries read such a safetensors file, and no pickle beside it
NETWORKS = {"unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae"}


def cheap_check(reference: ModelReference, base: ModelReference, trust_remote_code: bool = False) -> None:
    """Check a candidate and its base by their headers alone. Hub models and pipelines in memory are not checked.

    Raises UsageError for a base that is no complete model. Raises LoadError, naming the file and where possible the tensor, for
    damaged or dangerous files and for safetensors files that do not fit their base.
    """
    if base.kind in NO_COMPLETE_MODEL:
        raise UsageError(
            f"--base={base.text} is {NO_COMPLETE_MODEL[base.kind]}",
            "a base is a complete model",
            way_to_a_base(base.path) if base.kind == "weights" and base.path is not None else FOLDER,
        )
    below = atelier_own_base(reference) or base
    pipelines = [model for model in (reference, base, below) if model.kind in {"folder", "atelier"} and model.path is not None]
    for folder in {model.path for model in pipelines if model.path is not None and _complete(model, model.path)}:
        check_folder(folder, trust_remote_code)
    if reference.kind == "weights" or (reference.path is not None and atelier_own_base(reference) is not None):
        assert reference.path is not None
        _check_weights(reference.path, below)


def _complete(model: ModelReference, path: Path) -> bool:
    """Whether `path` of a model is to be checked as a pipeline folder: an atelier model may be the folder of a component."""
    return path.is_dir() if model.kind == "folder" else is_pipeline_folder(path)


def _check_weights(path: Path, below: ModelReference) -> None:
    if path.is_dir():
        refuse_foreign_links(path)
    files = weights_files(path)
    for file in files:
        if not is_safetensors(file):
            check_pickle(file)
        else:
            read_header(file)
    shapes = folder_shapes(below.path) if below.path is not None and is_pipeline_folder(below.path) else None
    if shapes is not None and all(is_safetensors(file) for file in files):
        with OpenContents(path, headers_only=True) as contents:
            lay_out(contents, shapes)


def folder_shapes(folder: Path) -> Shapes | None:
    """Component → place → shape of a pipeline folder, read from headers; None where weights are not in safetensors files."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for component in sorted(NETWORKS & set(_components(folder))):
        files = component_weights(folder / component)
        if not files or files[0].suffix != ".safetensors":
            return None
        headers = [read_header(file) for file in files]
        shapes[component] = {
            canonical_name(component, name): shape for header in headers for name, shape in header.shapes.items()
        }
    return shapes


def component_weights(folder: Path) -> list[Path]:
    """The weights files of a component that are loaded: safetensors before pickles, plain files before variants such as fp16.

    Raises LoadError where a shard of them is missing.
    """
    for suffixes in ({".safetensors"}, PICKLE_SUFFIXES):
        files = sorted(file for file in folder.iterdir() if file.suffix in suffixes) if folder.is_dir() else []
        plain = [file for file in files if not variant_of(file)]
        if files:
            chosen = plain or [file for file in files if variant_of(file) == variant_of(files[0])]
            require_complete(folder, chosen)
            return chosen
    return []


def variants(folder: Path) -> list[str]:
    """A sentence for each component of a pipeline folder whose weights are a variant (fp16, non_ema), or have one beside them."""
    sentences = []
    for component in sorted(name for name in _components(folder, True) if (folder / name).is_dir()):
        loaded = component_weights(folder / component) if component not in CHECKERS else []
        if not loaded:
            continue
        mine, words = variant_of(loaded[0]), component.replace("_", " ")
        others = {variant_of(file) for file in (folder / component).iterdir() if file.suffix == loaded[0].suffix} - {mine, ""}
        if mine:
            sentences.append(f"the {words} is the variant {mine} ({loaded[0].name})")
        if others:
            is_loaded = f"the variant {mine}" if mine else "the plain file"
            sentences.append(f"beside the {words}'s weights lies the variant {', '.join(sorted(others))}: {is_loaded} is loaded")
    return sentences


def check_folder(folder: Path, trust_remote_code: bool = False) -> None:
    """Raise LoadError where a pipeline folder cannot be loaded as it is.

    It may hold damaged or dangerous weights, absurd configurations, code of its own, or links out of it, or lack a shard.
    """
    refuse_foreign_links(folder)
    require_known_class(folder, read_model_index(folder, trust_remote_code), trust_remote_code)
    for component in _components(folder, trust_remote_code):
        if component not in CHECKERS:
            component_weights(folder / component)
        if not (folder / component).is_dir():
            continue
        shapes: dict[str, tuple[int, ...]] = {}
        for file in sorted((folder / component).glob("*.safetensors")):
            shapes |= read_header(file).shapes
        if not any(file.name.startswith(LOADED_FIRST) for file in (folder / component).glob("*.safetensors")):
            for file in sorted((folder / component).iterdir()):
                if file.suffix in PICKLE_SUFFIXES:
                    check_pickle(file)
        check_configurations(folder / component, shapes, trust_remote_code)


def check_network_folder(folder: Path) -> None:
    """Raise LoadError where the folder of a single network holds damaged safetensors, or configurations that are absurd."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        shapes |= read_header(file).shapes
    check_configurations(folder, shapes)


def read_model_index(folder: Path, trust_remote_code: bool = False) -> dict[str, Any]:
    """The table in a folder's model_index.json. Raises LoadError where it cannot be read, or where it names code of its own."""
    path = folder / "model_index.json"
    index = read_table(path)
    class_name = index.get("_class_name")
    if isinstance(class_name, list) and all(isinstance(part, str) for part in class_name):
        if trust_remote_code:
            return index
        own = ".".join(class_name)
        raise LoadError(f"{path} asks for a pipeline of its own code: {own}", "no code beside weights is run", TRUST)
    if not isinstance(class_name, str):
        raise LoadError(f"{path} names no pipeline class", "", "save the pipeline again with save_pretrained")
    return index


def _components(folder: Path, trust_remote_code: bool = False) -> list[str]:
    """The components that model_index.json names. Without trust each must come from diffusers or transformers."""
    components = []
    for name, entry in read_model_index(folder, trust_remote_code).items():
        if name.startswith("_") or not isinstance(entry, list) or entry[:1] == [None]:
            continue
        if not name.isidentifier() or len(name) > LONGEST_COMPONENT:
            raise LoadError(
                f"{folder / 'model_index.json'} names a component {name[:LONGEST_COMPONENT]!r}", "no pipeline has one"
            )
        library = entry[0] if len(entry) == 2 and isinstance(entry[1], str) else None
        known = isinstance(library, str) and (library in {"diffusers", "transformers"} or _is_pipeline_module(library))
        if not known and not (trust_remote_code and isinstance(library, str)):
            raise LoadError(
                f"{folder / 'model_index.json'}: component {name!r} comes from {library!r}",
                "only classes of diffusers and transformers are loaded, no code beside the weights",
                TRUST,
            )
        components.append(name)
    return components


def _is_pipeline_module(library: str) -> bool:
    """Old pipelines keep some classes, such as the safety checker, in a module of diffusers.pipelines."""
    spec = importlib.util.find_spec("diffusers")
    places = spec.submodule_search_locations if spec and library.isidentifier() else None
    return any((Path(place) / "pipelines" / library).is_dir() for place in places or [])


def refuse_foreign_links(folder: Path) -> None:
    """Raise LoadError for a link that leads out of the folder, and for a pipe, a socket or a device in it.

    A link may lead within the folder. In a hub cache (`snapshots/REVISION` and folders below) it may also lead to the `blobs` beside
    `snapshots`.
    """
    root = folder.resolve()
    snapshots = [place for place in (root, *root.parents) if place.parent.name == "snapshots"]
    allowed = [root, *(place.parent.parent / "blobs" for place in snapshots)]
    for path in folder.rglob("*"):
        if path.is_symlink():
            try:
                target = path.resolve()
            except (OSError, RuntimeError):
                raise LoadError(f"{path} is a link that leads round in a circle", "", "copy the file into the folder") from None
            if not any(target.is_relative_to(folder) for folder in allowed):
                raise LoadError(
                    f"{path} is a link that leads out of the folder", f"it leads to {target}", "copy the file into the folder"
                )
        elif not (stat.S_ISREG(mode := path.lstat().st_mode) or stat.S_ISDIR(mode)):
            raise LoadError(f"{path} is no regular file", "pipes, sockets and devices are not read", "remove it from the folder")
