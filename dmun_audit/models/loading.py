"""Loads the models of an audit, each with the proof of what was loaded."""

from __future__ import annotations

import filecmp
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.artifacts.formats import lay_out
from dmun_audit.models.comparison import compared
from dmun_audit.models.external_model import load_images
from dmun_audit.models.files.contents import OpenContents
from dmun_audit.models.fingerprint import modules
from dmun_audit.models.folders import DTYPES, first_line, open_folder, quietly
from dmun_audit.models.headers import read_model_index
from dmun_audit.models.in_memory import InMemoryModel, duplicate, open_in_memory, sibling
from dmun_audit.models.laid_over import load_over
from dmun_audit.models.loaded import LoadedModel, OpenedPipeline, finish
from dmun_audit.models.overlay import lay_over, pipeline_shapes
from dmun_audit.models.proof import LoadReport, prove, prove_base
from dmun_audit.models.python_functions import load_function
from dmun_audit.models.references import (
    ATELIER,
    NO_COMPLETE_MODEL,
    ModelReference,
    atelier_own_base,
    hub_parts,
    is_pipeline_folder,
    parse_reference,
)
from dmun_audit.models.sharing import share_weights
from dmun_audit.models.source_files import Source, confirm_source

Model = ModelReference | InMemoryModel

logger = logging.getLogger(__name__)


def load_pipeline(
    model: Model, dtype: str = "float32", device: str = "cpu", trust_remote_code: bool = False, planned: Source | None = None
) -> LoadedModel:
    """Load a complete model: a pipeline folder, a hub model, a model of the atelier or a pipeline in memory.

    `dtype` is "float32", "bfloat16" or "float16"; `device` is torch's name of one. `planned` holds the digest of the model's
    files where it was taken before: files that did not change since are not read for a digest again. Raises UsageError for a
    model that needs a base, and LoadError where files are damaged, dangerous or incomplete, hold more than the networks take, or
    changed since `planned`.
    """
    started = time.monotonic()
    reference = reference_of(model)
    opened = _open(model, dtype, trust_remote_code)
    loaded = finish(reference, opened, prove_base(opened.report), device, confirm_source(reference, planned))
    return _logged(loaded, started)


def load_candidate(
    model: Model,
    base: Model | LoadedModel,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
    planned: Source | None = None,
) -> LoadedModel:
    """Load a model of any kind and compare it with the base; weights and adapters are laid over a pipeline like `base`.

    Where the base is loaded from files, the candidate shares its memory: of every tensor that a weights file leaves as it is, or
    that is equal in a complete folder. Models with code of their own share none.

    An atelier weights file is laid over the atelier's own base. The other arguments are as in `load_pipeline`. Raises what
    `load_pipeline` raises, and LoadError where weights do not fit the base, or where a file laid over it changes nothing.
    """
    started = time.monotonic()
    reference = reference_of(model)
    own = atelier_own_base(reference)
    below = base if own is None or (isinstance(base, LoadedModel) and base.reference == own) else own

    def fresh() -> OpenedPipeline:
        return _fresh(below, dtype, trust_remote_code)

    if reference.kind == "images":
        loaded = load_images(reference, planned)
    elif reference.kind == "hook":
        loaded = load_function(reference, fresh, dtype, device, planned)
    elif reference.path is not None and (reference.kind == "weights" or own is not None):
        beside = sibling(below) if _may_share(below) else fresh()
        loaded = load_over(reference, reference.path, beside, device, planned)
    else:
        opened = _open(model, dtype, trust_remote_code)
        if _may_share(base) and not opened.beyond_weights and not opened.weights_digest:
            opened = replace(opened, hashed=share_weights(opened.pipeline, base))
        loaded_base = (
            base.pipeline if isinstance(base, LoadedModel) else _open_base(base, opened, reference, dtype, trust_remote_code)
        )
        difference, warnings = compared(opened.pipeline, loaded_base, reference.text)
        report = replace(opened.report, warnings=[*opened.report.warnings, *warnings])
        proof = prove(report, difference, name=reference.text, must_differ=False)
        loaded = finish(reference, opened, proof, device, confirm_source(reference, planned))
    return _logged(loaded, started)


def reference_of(model: Model) -> ModelReference:
    """How manifest and messages name the model."""
    return model.reference if isinstance(model, InMemoryModel) else model


def is_atelier_base(model: InMemoryModel) -> bool:
    """Whether a pipeline in memory is the base of the atelier, whatever it was loaded from: its digest is the same.

    The atelier's base is loaded for that (about a second), but only where the class of the pipeline is the same.
    """
    reference = parse_reference(f"{ATELIER}base")
    dtype = next((name for name, value in DTYPES.items() if value == model.dtype), None)
    if (
        dtype is None
        or reference.path is None
        or read_model_index(reference.path)["_class_name"] != type(model.pipeline).__name__
    ):
        return False
    return load_pipeline(reference, dtype).weights_digest == model.weights_digest


def _logged(model: LoadedModel, started: float) -> LoadedModel:
    logger.info(
        "loaded %s (%s) in %.1f s: weights %s…, source %s…",
        model.reference.text,
        model.proof["format"],
        time.monotonic() - started,
        model.weights_digest[:16],
        model.source_digest[:16],
    )
    return model


# Complete models.


def _fresh(model: Model | LoadedModel, dtype: str, trust_remote_code: bool) -> OpenedPipeline:
    """A pipeline that may be edited. A base that came from memory is duplicated; every other one is opened again."""
    if not isinstance(model, LoadedModel):
        return _open(model, dtype, trust_remote_code, editable=True)
    if model.reference.kind == "memory":
        return duplicate(model)
    return _open(model.reference, dtype, trust_remote_code)


def _may_share(model: Model | LoadedModel) -> TypeGuard[LoadedModel]:
    return isinstance(model, LoadedModel) and model.may_be_copied


def _open(model: Model, dtype: str, trust_remote_code: bool, editable: bool = False) -> OpenedPipeline:
    if isinstance(model, InMemoryModel):
        return open_in_memory(model, DTYPES[dtype], own_storage=editable)
    if model.kind in NO_COMPLETE_MODEL:
        raise UsageError(
            f"{model.text} is no complete model, but {NO_COMPLETE_MODEL[model.kind]}",
            "",
            "add --base=… with the model below it",
        )
    if model.path is None:
        snapshot = _download(model, trust_remote_code)
        opened = open_folder(snapshot, dtype, trust_remote_code)
        notes = [*opened.report.notes, f"fetched from the hub at commit {snapshot.name}"]
        return replace(opened, report=replace(opened.report, notes=notes))
    own_base = atelier_own_base(model)
    if own_base is None:
        return open_folder(model.path, dtype, trust_remote_code)
    pipeline = _open(own_base, dtype, trust_remote_code).pipeline
    with OpenContents(model.path) as contents:
        layout = lay_out(contents, pipeline_shapes(pipeline))
        if lay_over(pipeline, layout, contents) is not None:
            raise UsageError(
                f"{model.text} cannot be a base",
                f"it is {layout.format}, which works while images are made",
                "name a base whose weights are all in the model, such as atelier:base",
            )
    return OpenedPipeline(pipeline, LoadReport(layout.format, layout.matched()))


def _open_base(base: Model, candidate: OpenedPipeline, reference: ModelReference, dtype: str, trust_remote_code: bool) -> Any:
    """The base's pipeline. A component with the same files as the candidate's is not loaded again: it is the candidate's."""
    folder = None if isinstance(base, InMemoryModel) else base.path
    if folder is None or reference.path is None or not is_pipeline_folder(folder) or not is_pipeline_folder(reference.path):
        return _open(base, dtype, trust_remote_code).pipeline
    networks = modules(candidate.pipeline).items()
    same = {name: network for name, network in networks if _same_files(folder / name, reference.path / name)}
    return open_folder(folder, dtype, trust_remote_code, same).pipeline


def _same_files(one: Path, other: Path) -> bool:
    files = [{file.name: file for file in folder.iterdir()} if folder.is_dir() else {} for folder in (one, other)]
    if not files[0] or files[0].keys() != files[1].keys():
        return False
    return all(filecmp.cmp(file, files[1][name], shallow=False) for name, file in files[0].items())


def _download(reference: ModelReference, trust_remote_code: bool) -> Path:
    """The folder of a hub model, fetched where it is not in the hub cache yet."""
    torchvision_compatibility.make_importable()
    from diffusers import DiffusionPipeline

    name, revision = hub_parts(reference)
    try:
        with quietly():
            return Path(DiffusionPipeline.download(name, revision=revision, trust_remote_code=trust_remote_code))
    except Exception as error:  # no connection, no such model, gated, disk full: the hub's errors have no common class
        raise LoadError(
            f"{reference.text} could not be fetched from the hub, and is not in the local cache",
            f"no folder here has that name, so it was taken as a hub id: {first_line(_root(error))}",
            "check the spelling and the connection, or name a local pipeline folder",
        ) from error


def _root(error: BaseException) -> BaseException:
    """What the hub's client met: its own errors speak of arguments that a user of an audit cannot give."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
