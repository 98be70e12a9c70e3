"""Loads the models of an audit, each with the proof of what was loaded: whole pipelines, and weights laid over a base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmun_audit import torchvision_cure
from dmun_audit.errors import LoadError, UsageError
from dmun_audit.models.formats import read_tensors, require_match
from dmun_audit.models.headers import check_folder, read_model_index
from dmun_audit.models.proof import LoadProof, modules, prove, require_finite, weights_digest
from dmun_audit.references import ModelReference, atelier_own_base, hub_parts, source_digest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory: a diffusers pipeline in evaluation mode, where it came from and the proof of what it is."""

    reference: ModelReference
    pipeline: Any
    source_digest: str
    weights_digest: str
    proof: dict[str, Any]


@dataclass(frozen=True)
class _Opened:
    pipeline: Any
    format: str
    matched: int


def load_pipeline(reference: ModelReference, dtype: str = "float32", device: str = "cpu") -> LoadedModel:
    """Load a complete model: a pipeline folder, a hub model or a model of the atelier.

    `dtype` is "float32", "bfloat16" or "float16"; `device` is torch's name of one. Raises UsageError for a weights file, which
    needs a base, and LoadError where the files are damaged, dangerous, incomplete or hold more than the networks take.
    """
    opened = _open(reference, dtype)
    return _finish(reference, opened.pipeline, LoadProof(opened.format, opened.matched), device)


def load_candidate(
    reference: ModelReference, base: ModelReference | LoadedModel, dtype: str = "float32", device: str = "cpu"
) -> LoadedModel:
    """Load a complete model or lay a weights file over `base`, and compare the result with the base.

    Giving the loaded base rather than its reference saves loading it again. An atelier weights file is laid over the
    atelier's own base. Raises what `load_pipeline` raises, and LoadError where the weights do not fit the base, or where a file
    laid over it changes nothing.
    """
    below = base.reference if isinstance(base, LoadedModel) else base
    compared = base.pipeline if isinstance(base, LoadedModel) else _open(base, dtype).pipeline
    if reference.kind == "weights" and reference.path is not None:
        opened = _lay_over(reference.path, _open(below, dtype).pipeline)
    else:
        opened = _open(reference, dtype)
    proof = prove(
        opened.pipeline,
        compared,
        form=opened.format,
        matched=opened.matched,
        name=reference.text,
        must_differ=reference.kind == "weights",
    )
    return _finish(reference, opened.pipeline, proof, device)


def _finish(reference: ModelReference, pipeline: Any, proof: LoadProof, device: str) -> LoadedModel:
    digest_in_memory = weights_digest(pipeline)
    pipeline.to(device)
    return LoadedModel(reference, pipeline, source_digest(reference), digest_in_memory, proof.as_dict())


def _open(reference: ModelReference, dtype: str) -> _Opened:
    if reference.kind == "weights":
        raise UsageError(f"{reference.text} is a weights file, no complete model", "", "add --base=… with the model below it")
    if reference.path is None:
        return _open_folder(_download(reference), dtype)
    own_base = atelier_own_base(reference)
    if own_base is not None:
        return _lay_over(reference.path, _open(own_base, dtype).pipeline)
    return _open_folder(reference.path, dtype)


# Weights over a base.


def _lay_over(path: Path, pipeline: Any) -> _Opened:
    """Put the tensors of a weights file into the pipeline's UNet, once all of them are found to fit and to be finite."""
    unet = modules(pipeline).get("unet")
    if unet is None:
        raise LoadError(f"{path} cannot be laid over this base", "the base has no UNet, and this version lays over UNets only")
    container, tensors = read_tensors(path)
    places = unet.state_dict()
    require_match(
        path,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        {name: tuple(place.shape) for name, place in places.items()},
    )
    converted = {name: tensor.to(places[name].dtype) for name, tensor in tensors.items()}
    require_finite(str(path), converted)
    with torch.no_grad():
        for name, tensor in converted.items():
            places[name].copy_(tensor)
    extent = "full" if len(tensors) == len(places) else "partial"
    return _Opened(pipeline, f"{extent} unet {container}", len(tensors))


# Whole pipelines.


def _open_folder(folder: Path, dtype: str) -> _Opened:
    check_folder(folder)
    torchvision_cure.cure()
    from diffusers import DiffusionPipeline

    index = read_model_index(folder)
    matched = 0
    networks: dict[str, Any] = {}
    with quietly():
        for name, entry in index.items():
            network_class = _network_class(entry) if name not in {"safety_checker"} else None
            if network_class is not None:
                networks[name] = _open_network(folder / name, network_class, dtype)
                matched += len(networks[name].state_dict())
        without_checker: dict[str, Any] = {"safety_checker": None} if "safety_checker" in index else {}
        if "requires_safety_checker" in index:
            without_checker["requires_safety_checker"] = False
        with _as_load_error(folder):
            pipeline = DiffusionPipeline.from_pretrained(
                str(folder), local_files_only=True, dtype=DTYPES[dtype], **networks, **without_checker
            )
    unproven = sorted(modules(pipeline).keys() - networks.keys())
    if unproven:
        raise LoadError(f"{folder}: component {unproven[0]!r} is of a class whose loading cannot be proven")
    if not networks:
        raise LoadError(f"{folder} holds no networks", "its model_index.json names none")
    pipeline.set_progress_bar_config(disable=True)
    return _Opened(pipeline, "pipeline folder", matched)


def _network_class(entry: Any) -> Any:
    """The network class that an entry of model_index.json names; None for schedulers, tokenizers and settings."""
    import diffusers
    import transformers

    if not isinstance(entry, list) or len(entry) != 2:
        return None
    library = {"diffusers": diffusers, "transformers": transformers}.get(str(entry[0]))
    found = getattr(library, str(entry[1]), None)
    return found if isinstance(found, type) and issubclass(found, torch.nn.Module) else None


def _open_network(folder: Path, network_class: Any, dtype: str) -> torch.nn.Module:
    """Load one network, refusing tensors without a place and places without a tensor; neither library does."""
    with _as_load_error(folder):
        network, report = network_class.from_pretrained(
            str(folder), local_files_only=True, dtype=DTYPES[dtype], output_loading_info=True
        )
    for kind, words in (("unexpected_keys", "tensors that the network has no place for"), ("missing_keys", "no tensors for")):
        names = sorted(str(name) for name in report[kind])
        if names:
            raise LoadError(f"{folder} holds {words}: {', '.join(names[:3])}", f"{len(names)} in all", "save it again")
    network.eval().requires_grad_(False)
    require_finite(str(folder), network.state_dict())
    return network  # type: ignore[no-any-return]


def _download(reference: ModelReference) -> Path:
    """The folder of a hub model, fetched where it is not in the hub cache yet."""
    torchvision_cure.cure()
    from diffusers import DiffusionPipeline

    name, revision = hub_parts(reference)
    try:
        with quietly():
            return Path(DiffusionPipeline.download(name, revision=revision))
    except Exception as error:  # no connection, no such model, gated, disk full: the hub's client has no common ancestor
        raise LoadError(
            f"{reference.text} could not be fetched from the hub, and is not in the local cache",
            f"no folder here has that name, so it was taken as a hub id: {_first_line(error)}",
            "check the spelling and the connection, or name a local pipeline folder",
        ) from error


@contextmanager
def _as_load_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # diffusers and transformers raise whatever a damaged folder makes them stumble over
        raise LoadError(f"{folder} could not be loaded", _first_line(error), "save or download it again") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quietly() -> Iterator[None]:
    """Without the libraries' own bars and warnings: what they warn of is an error here."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()
