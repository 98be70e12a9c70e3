"""Loads the models of an audit, each with the proof of what was loaded."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.models.artifacts.formats import lay_out
from dmun_audit.models.artifacts.layout import Layout, actual_name, canonical_name
from dmun_audit.models.artifacts.lora import adapter_settings
from dmun_audit.models.external_images import DrawingFunction, ImageFolder, session_mark
from dmun_audit.models.files.contents import Contents, OpenContents
from dmun_audit.models.fingerprint import align, modules, require_finite, tensor_digest, weights_digest
from dmun_audit.models.folders import DTYPES, Opened, first_line, open_folder, quietly
from dmun_audit.models.overlay import lay_over, pipeline_shapes
from dmun_audit.models.proof import Difference, Loaded, LoadProof, State, prove, prove_base
from dmun_audit.models.python_functions import call_hook
from dmun_audit.models.references import NO_COMPLETE_MODEL, ModelReference, atelier_own_base, hub_parts, source_digest
from dmun_audit.models.settings import differing_settings

MOST_THAT_MAY_STAY = 0.5  # of a component, before a file that leaves the rest to the base is remarked on


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory, where it came from and the proof of what it is.

    `pipeline` is a diffusers pipeline in evaluation mode; None where the images are made elsewhere, by `maker`. `set_prompts`, where
    an adapter follows the prompts, is to be called with the prompts of every batch before it is drawn.
    """

    reference: ModelReference
    pipeline: Any
    source_digest: str
    weights_digest: str
    proof: dict[str, Any]
    set_prompts: Callable[[Sequence[str]], None] | None = None
    maker: DrawingFunction | ImageFolder | None = None


def load_pipeline(
    reference: ModelReference, dtype: str = "float32", device: str = "cpu", trust_remote_code: bool = False
) -> LoadedModel:
    """Load a complete model: a pipeline folder, a hub model or a model of the atelier.

    `dtype` is "float32", "bfloat16" or "float16"; `device` is torch's name of one. Raises UsageError for what needs a base, and
    LoadError where the files are damaged, dangerous, incomplete or hold more than the networks take.
    """
    opened = _open(reference, dtype, trust_remote_code)
    return _finish(reference, opened.pipeline, prove_base(opened.loaded), device, opened.code_digest)


def load_candidate(
    reference: ModelReference,
    base: ModelReference | LoadedModel,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model of any kind, laying over `base` what is no complete model, and compare the result with the base.

    An atelier weights file is laid over the atelier's own base. Raises what `load_pipeline` raises, and LoadError where the
    weights do not fit the base, or where a file laid over it changes nothing.
    """
    below = base.reference if isinstance(base, LoadedModel) else base

    def fresh() -> Opened:
        return _open(atelier_own_base(reference) or below, dtype, trust_remote_code)

    if reference.kind == "images":
        return _images(reference)
    if reference.kind == "hook":
        return _hooked(reference, fresh, dtype, device)
    if reference.path is not None and (reference.kind == "weights" or atelier_own_base(reference) is not None):
        return _laid_over(reference, reference.path, fresh().pipeline, device)
    opened = _open(reference, dtype, trust_remote_code)
    compared = (
        base.pipeline
        if isinstance(base, LoadedModel)
        else _open_beside(below, opened.pipeline, reference, dtype, trust_remote_code)
    )
    difference, warnings = _compared(opened.pipeline, compared, reference.text)
    loaded = replace(opened.loaded, warnings=[*opened.loaded.warnings, *warnings])
    proof = prove(loaded, difference, name=reference.text, must_differ=False)
    return _finish(reference, opened.pipeline, proof, device, opened.code_digest)


def _finish(
    reference: ModelReference,
    pipeline: Any,
    proof: LoadProof,
    device: str,
    adapter_digest: str = "",
    set_prompts: Callable[[Sequence[str]], None] | None = None,
) -> LoadedModel:
    digest_in_memory = weights_digest(pipeline, adapter_digest)
    pipeline.to(device)
    if device == "cpu":
        align(pipeline)
    return LoadedModel(reference, pipeline, source_digest(reference), digest_in_memory, proof.as_dict(), set_prompts)


# Complete models.


def _open(reference: ModelReference, dtype: str, trust_remote_code: bool) -> Opened:
    if reference.kind in NO_COMPLETE_MODEL:
        raise UsageError(
            f"{reference.text} is no complete model, but {NO_COMPLETE_MODEL[reference.kind]}",
            "",
            "add --base=… with the model below it",
        )
    if reference.path is None:
        snapshot = _download(reference, trust_remote_code)
        opened = open_folder(snapshot, dtype, trust_remote_code)
        notes = [*opened.loaded.notes, f"fetched from the hub at commit {snapshot.name}"]
        return replace(opened, loaded=replace(opened.loaded, notes=notes))
    own_base = atelier_own_base(reference)
    if own_base is None:
        return open_folder(reference.path, dtype, trust_remote_code)
    pipeline = _open(own_base, dtype, trust_remote_code).pipeline
    with OpenContents(reference.path) as contents:
        layout = lay_out(contents, pipeline_shapes(pipeline))
        lay_over(pipeline, layout, contents)
    return Opened(pipeline, Loaded(layout.format, layout.matched()))


def _open_beside(below: ModelReference, pipeline: Any, reference: ModelReference, dtype: str, trust_remote_code: bool) -> Any:
    """The base's pipeline; components whose files are the candidate's to the byte are the candidate's own networks."""
    if below.path is None or reference.path is None or not below.path.is_dir() or not reference.path.is_dir():
        return _open(below, dtype, trust_remote_code).pipeline
    same = {name: network for name, network in modules(pipeline).items() if _same_files(below.path / name, reference.path / name)}
    return open_folder(below.path, dtype, trust_remote_code, same).pipeline


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
    except Exception as error:  # no connection, no such model, gated, disk full: the hub's client has no common ancestor
        raise LoadError(
            f"{reference.text} could not be fetched from the hub, and is not in the local cache",
            f"no folder here has that name, so it was taken as a hub id: {first_line(error)}",
            "check the spelling and the connection, or name a local pipeline folder",
        ) from error


def _compared(pipeline: Any, base: Any, name: str) -> tuple[Difference, list[str]]:
    difference = Difference()
    ours, theirs = modules(pipeline), modules(base)
    for component in sorted(ours.keys() | theirs.keys()):
        if component not in ours or component not in theirs:
            difference.replace(component, f"only the {'candidate' if component in ours else 'base'} has it")
            continue
        difference.compare(component, ours[component].state_dict(), theirs[component].state_dict(), name)
    return difference, differing_settings(pipeline, base)


# Weights over a base.


def _laid_over(reference: ModelReference, path: Path, pipeline: Any, device: str) -> LoadedModel:
    """Lay a file over its base, and compare the components that it touches with what they were."""
    with OpenContents(path) as contents:
        shapes = pipeline_shapes(pipeline)
        layout = lay_out(contents, shapes)
        before = _copies(pipeline, layout)
        adapter = lay_over(pipeline, layout, contents)
        difference = _adapter_difference(pipeline, layout, contents) if adapter else Difference()
        for component, state in before.items():
            difference.compare(component, modules(pipeline)[component].state_dict(), state, reference.text)
        missing = layout.missing(shapes)
        loaded = Loaded(
            layout.format,
            layout.matched(),
            missing,
            [*layout.notes, *layout.aside, *_origin(contents)],
            _incomplete(missing, shapes),
        )
        tensors = [[name, tensor_digest(contents.tensor(name))] for name in sorted(layout.used())] if adapter else []
    proof = prove(loaded, difference, name=reference.text, must_differ=reference.kind == "weights")
    adapter_digest = digest([adapter.digest, tensors]) if adapter else ""
    return _finish(reference, pipeline, proof, device, adapter_digest, getattr(adapter, "set_prompts", None))


def _copies(pipeline: Any, layout: Layout) -> dict[str, State]:
    """The components whose weights the file will change, as they are before."""
    touched = {part.component for part in layout.parts} | {name for names in layout.tokens.values() for name in names}
    touched |= set() if layout.adapter else {pair.component for pair in layout.low_rank}
    networks = modules(pipeline)
    return {
        component: {name: value.detach().clone() for name, value in networks[component].state_dict().items()}
        for component in sorted(touched)
    }


def _adapter_difference(pipeline: Any, layout: Layout, contents: Contents) -> Difference:
    """What an adapter adds at full strength, or, where that is no weight, how many modules it adds that do something."""
    from dmun_audit.models.artifacts.lora import delta

    difference = Difference()
    for pair in layout.low_rank:
        if layout.adapter == "spm":
            network = modules(pipeline)[pair.component]
            weight = network.state_dict()[actual_name(network, pair.place)]
            difference.add_change(pair.component, pair.place, delta(pair, contents, torch.float32), weight)
        else:
            names = (pair.up, layout.settings["biases"][pair.place][1])
            difference.add_module(pair.component, any(bool(contents.tensor(name).any()) for name in names))
    changed = {(pair.component, pair.place) for pair in layout.low_rank}
    for component in {pair.component for pair in layout.low_rank}:
        for name, weight in modules(pipeline)[component].state_dict().items():
            if (component, canonical_name(component, name)) not in changed:
                difference.add(component, name, weight, weight)
    return difference


def _incomplete(missing: Mapping[str, int], shapes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{count} of {len(shapes[component])} tensors of the {component.replace('_', ' ')} are not in the file and stay the base's: "
        "that is little enough to look like a file that is cut short"
        for component, count in missing.items()
        if 0 < count < MOST_THAT_MAY_STAY * len(shapes[component])
    ]


def _origin(contents: Contents) -> list[str]:
    named = contents.metadata.get("base_model_id") or adapter_settings(contents.path).get("base_model_name_or_path")
    return [f"the file says that it was made from {named}"] if named else []


# A function of the user's, and images made elsewhere.


def _hooked(reference: ModelReference, fresh: Callable[[], Opened], dtype: str, device: str) -> LoadedModel:
    given = call_hook(
        reference,
        {"pipeline": lambda: fresh().pipeline, "dtype": lambda: DTYPES[dtype], "device": lambda: torch.device(device)},
    )
    source = source_digest(reference)
    if not hasattr(given, "components"):
        if not callable(given):
            raise LoadError(
                f"{reference.text} gave a {type(given).__name__}",
                "",
                "return a diffusers pipeline, or a function draw(prompts, seeds)",
            )
        maker = DrawingFunction(reference, given)
        return LoadedModel(
            reference,
            None,
            source,
            digest(["drawn", source, reference.name, maker.fingerprint]),
            _unseen(maker, "images drawn by a function"),
            maker=maker,
        )
    networks = modules(given)
    for name, network in networks.items():
        network.eval().requires_grad_(False)
        require_finite(f"{reference.text}: {name}", network.state_dict())
    given.set_progress_bar_config(disable=True)
    difference, warnings = _compared(given, fresh().pipeline, reference.text)
    matched = {name: len(network.state_dict()) for name, network in networks.items()}
    notes = ["a function made this model: what it does while images are made does not show in its weights"]
    loaded = Loaded("pipeline of a Python function", matched, notes=notes, warnings=warnings)
    proof = prove(loaded, difference, name=reference.text, must_differ=False)
    unseen = session_mark() if any(_computes_otherwise(network) for network in networks.values()) else ""
    return _finish(reference, given, proof, device, digest(["hook", source, reference.name, unseen]))


def _computes_otherwise(network: torch.nn.Module) -> bool:
    """Whether hooks or replaced methods decide what it computes: what they do may change though no weight does."""
    return any(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module) for module in network.modules())


def _images(reference: ModelReference) -> LoadedModel:
    maker = ImageFolder(reference)
    source = source_digest(reference)
    proof = _unseen(maker, f"{len(maker)} images made elsewhere")
    return LoadedModel(reference, None, source, digest(["images", source]), proof, maker=maker)


def _unseen(maker: DrawingFunction | ImageFolder, form: str) -> dict[str, Any]:
    return prove_base(Loaded(form, {}, warnings=maker.forgoes)).as_dict()
