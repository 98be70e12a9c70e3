"""Whole pipelines in folders: each network is loaded with the proof that its files hold exactly its tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_file
from dmun_audit.models.files.shards import variant_of
from dmun_audit.models.fingerprint import modules, require_finite
from dmun_audit.models.headers import CHECKERS, check_folder, component_weights, read_model_index, variants
from dmun_audit.models.loaded import OpenedPipeline
from dmun_audit.models.network_size import require_fitting_size
from dmun_audit.models.proof import LoadReport

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_folder(
    folder: Path, dtype: str, trust_remote_code: bool = False, known: Mapping[str, torch.nn.Module] | None = None
) -> OpenedPipeline:
    """The pipeline in a diffusers folder, on the CPU and in evaluation mode.

    `known` networks, by component, are used as they are and not loaded again. Code in the folder runs only with
    `trust_remote_code`.

    Raises LoadError where files are damaged, dangerous or incomplete, or hold more than the networks take.
    """
    check_folder(folder, trust_remote_code)
    torchvision_compatibility.make_importable()
    from diffusers import DiffusionPipeline

    networks = dict(known or {})
    networks |= open_networks(folder, dtype, without=networks.keys())
    index = read_model_index(folder, trust_remote_code)
    without_checker: dict[str, Any] = dict.fromkeys(CHECKERS & index.keys())
    if without_checker and _lacks_feature_extractor(folder, index):
        without_checker["feature_extractor"] = None
    if "requires_safety_checker" in index:
        without_checker["requires_safety_checker"] = False
    own_code: dict[str, Any] = {"trust_remote_code": True} if trust_remote_code else {}
    if trust_remote_code and (folder / "pipeline.py").is_file():
        own_code["custom_pipeline"] = str(folder)
    with quietly(), as_load_error(folder):
        pipeline = DiffusionPipeline.from_pretrained(
            str(folder), local_files_only=True, dtype=DTYPES[dtype], **networks, **without_checker, **own_code
        )
    unproven = sorted(modules(pipeline).keys() - networks.keys())
    if unproven and not trust_remote_code:
        raise LoadError(f"{folder}: component {unproven[0]!r} is of a class whose loading cannot be proven")
    if not modules(pipeline):
        raise LoadError(f"{folder} holds no networks", "its model_index.json names none")
    for name in unproven:
        network = modules(pipeline)[name].eval().requires_grad_(False)
        require_finite(f"{folder / name}", network.state_dict())
    pipeline.set_progress_bar_config(disable=True)
    matched = {name: len(network.state_dict()) for name, network in networks.items()}
    warnings = [
        f"{name} was loaded by the folder's own code: nothing proves that its tensors found their places" for name in unproven
    ]
    code = sorted(folder.rglob("*.py")) if trust_remote_code else []
    code_digest = digest([[path.relative_to(folder).as_posix(), digest_file(path)] for path in code]) if code else ""
    return OpenedPipeline(
        pipeline, LoadReport("pipeline folder", matched, notes=variants(folder), warnings=warnings), code_digest
    )


def _lacks_feature_extractor(folder: Path, index: Mapping[str, Any]) -> bool:
    """Whether the safety checker's preprocessing cannot be loaded. Without the checker nothing uses it."""
    import transformers

    entry = index.get("feature_extractor")
    if not isinstance(entry, list) or len(entry) != 2 or not entry[0]:
        return False
    try:
        return not (folder / "feature_extractor").is_dir() or not hasattr(transformers, str(entry[1]))
    except ImportError:  # it needs a package that is not installed
        return True


def open_networks(folder: Path, dtype: str, without: Collection[str] = ()) -> dict[str, torch.nn.Module]:
    """The networks of a pipeline folder by component, each proven; those in `without` are not opened."""
    networks: dict[str, torch.nn.Module] = {}
    with quietly():
        for name, entry in read_model_index(folder, True).items():
            network_class = _network_class(entry) if name not in CHECKERS and name not in without else None
            if network_class is not None:
                networks[name] = _open_network(folder / name, network_class, dtype)
    return networks


def _network_class(entry: Any) -> Any:
    """The network class that an entry of model_index.json names; None for schedulers, tokenizers and settings."""
    import diffusers
    import transformers

    if not isinstance(entry, list) or len(entry) != 2:
        return None
    library = {"diffusers": diffusers, "transformers": transformers}.get(str(entry[0]))
    named = getattr(library, str(entry[1]), None)
    return named if isinstance(named, type) and issubclass(named, torch.nn.Module) else None


def _open_network(folder: Path, network_class: Any, dtype: str) -> torch.nn.Module:
    """Load one network. Tensors without a place and places without a tensor are refused; the libraries only warn of them."""
    files = component_weights(folder)
    variant = variant_of(files[0]) if files else ""
    require_fitting_size(folder, network_class, files)
    with as_load_error(folder):
        network, report = network_class.from_pretrained(
            str(folder), local_files_only=True, dtype=DTYPES[dtype], output_loading_info=True, variant=variant or None
        )
    for kind, problem in (("unexpected_keys", "tensors that the network has no place for"), ("missing_keys", "no tensors for")):
        names = sorted(str(name) for name in report[kind])
        if names:
            raise LoadError(f"{folder} holds {problem}: {', '.join(names[:3])}", f"{len(names)} in all", "save it again")
    loaded: torch.nn.Module = network
    loaded.eval().requires_grad_(False)
    require_finite(str(folder), loaded.state_dict())
    return loaded


@contextmanager
def as_load_error(folder: Path) -> Iterator[None]:
    """Turn every error of the libraries about a damaged folder into a LoadError."""
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{folder} could not be loaded", first_line(error), "save or download it again") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quietly() -> Iterator[None]:
    """Without the progress bars and warnings of the libraries: what they warn of is an error here."""
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
