"""What a model is and whether it fits its base: from the load proof, or from headers alone. Nothing is rendered."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.formats import lay_out, reading_of
from dmun_audit.models.artifacts.layout import Layout, Shapes, block_of
from dmun_audit.models.files.contents import Contents, OpenContents, weights_files
from dmun_audit.models.headers import (
    NETWORKS,
    check_folder,
    component_weights,
    folder_shapes,
    read_model_index,
    refuse_foreign_links,
    variants,
)
from dmun_audit.models.references import ModelReference, atelier_own_base, is_pipeline_folder
from dmun_audit.models.source_files import read_source

if TYPE_CHECKING:
    from dmun_audit.models.loaded import LoadedModel

LARGEST_SETTINGS = 2**20  # bytes of a scheduler's configuration


@dataclass(frozen=True)
class HeaderCounts:
    """What the headers of a file or component declare. `numbers` counts single values, and `dtypes` counts tensors by type."""

    tensors: int
    numbers: int
    bytes: int
    dtypes: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """What `dmun-audit inspect` prints.

    `holds` has an entry for each component. So has `fit`: how many tensors have a place in the base (`matched`), and how many
    places keep the base's tensor (`missing`). `touched` counts the base's tensors that a file changes, by block. `files` has the
    SHA-256 of each file by its name. `proof` is the load proof; it is None where only headers were read. `schedulers` holds class
    and prediction type of "candidate" and "base", where they are known.
    """

    model: str
    base: str | None
    format: str
    holds: dict[str, HeaderCounts]
    fit: dict[str, dict[str, int]] = field(default_factory=dict)
    touched: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    source_digest: str | None = None
    weights_digest: str | None = None
    tensors_digest: str | None = None
    proof: dict[str, Any] | None = None
    schedulers: dict[str, dict[str, str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The inspection as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class SamplingFacts:
    """How a model draws: class and prediction type of each side's scheduler, and warnings where the sides differ."""

    schedulers: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def inspect_quickly(reference: ModelReference, base: ModelReference | None, trust_remote_code: bool = False) -> Inspection:
    """Read headers, and no tensors: what the model holds, and, with a base, whether each tensor has a place of its shape there.

    Raises LoadError where it does not fit, and where files are damaged or dangerous.
    """
    below = atelier_own_base(reference) or base
    if reference.path is None or reference.kind in {"hook", "images"}:
        raise LoadError(f"{reference.text} has no headers to read", "it is no file or folder", "leave --quick out")
    if reference.kind == "folder" or (reference.kind == "atelier" and is_pipeline_folder(reference.path)):
        check_folder(reference.path, trust_remote_code)
        return _quick_folder(reference, reference.path, below if below is not None and below.path is not None else None)
    if reference.path.is_dir():
        refuse_foreign_links(reference.path)
    with OpenContents(reference.path, headers_only=True) as contents:
        holds = {"weights": _counts([contents], weights_files(reference.path))}
        if below is None:
            note = "without --base nothing says whether it fits"
            return Inspection(reference.text, None, f"read as {reading_of(contents)}", holds, notes=[note])
        shapes = _shapes_of(below)
        layout = lay_out(contents, shapes)
        fit, notes = _fit(layout, shapes), [*layout.notes, *layout.aside]
        return Inspection(reference.text, below.text, layout.format, holds, fit, _touched(layout), notes)


def inspect_fully(
    reference: ModelReference,
    base: ModelReference | None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    sampling: Callable[[LoadedModel, LoadedModel | None], SamplingFacts] | None = None,
) -> Inspection:
    """Load the model as an audit does, with its proof. A complete model without a base is compared with nothing.

    Of weights without a base only headers are read. `sampling` tells of a model and its base how they draw; weights are laid over
    their base and draw as it does. Raises what loading raises.
    """
    below = atelier_own_base(reference) or base
    if below is None and reference.kind == "weights":
        quick = inspect_quickly(reference, None, trust_remote_code)
        source = read_source(reference)
        return replace(quick, files=dict(source.files), source_digest=source.digest)
    from dmun_audit.models.loading import load_candidate, load_pipeline

    source, loaded_base = read_source(reference), None
    if below is None or reference == below:
        model = load_pipeline(reference, dtype, trust_remote_code=trust_remote_code, planned=source)
    elif sampling is None or reference.kind in {"weights", "images"} or below is not base:
        model = load_candidate(reference, below, dtype, trust_remote_code=trust_remote_code, planned=source)
    else:
        loaded_base = load_pipeline(below, dtype, trust_remote_code=trust_remote_code)
        model = load_candidate(reference, loaded_base, dtype, trust_remote_code=trust_remote_code, planned=source)
    facts = sampling(model, loaded_base) if sampling is not None and model.pipeline is not None else SamplingFacts()
    proof = model.proof
    fit = {name: {key: counts[key] for key in ("matched", "missing")} for name, counts in proof["components"].items()}
    return Inspection(
        reference.text,
        below.text if below is not None else None,
        proof["format"],
        _header_counts(reference),
        fit,
        notes=proof["notes"],
        warnings=[*facts.warnings, *proof["warnings"]],
        files=dict(source.files),
        source_digest=model.source_digest,
        weights_digest=model.weights_digest,
        tensors_digest=model.tensors_digest or None,
        proof=proof,
        schedulers=facts.schedulers,
    )


def _shapes_of(base: ModelReference) -> Shapes:
    if base.path is None or not is_pipeline_folder(base.path):
        raise LoadError(
            f"--base={base.text} has no headers to read", "it is no pipeline folder on this machine", "leave --quick out"
        )
    check_folder(base.path)
    shapes = folder_shapes(base.path)
    if shapes is None:
        raise LoadError(f"--base={base.text} keeps weights in pickles, which have no headers", "", "leave --quick out")
    return shapes


def _quick_folder(reference: ModelReference, folder: Path, below: ModelReference | None) -> Inspection:
    holds, ours = _header_counts(reference), folder_shapes(folder)
    warnings, fit = [], {}
    if below is not None and below.path != folder and ours is not None:
        theirs = _shapes_of(below)
        for component in sorted(ours.keys() | theirs.keys()):
            one, other = ours.get(component, {}), theirs.get(component, {})
            fit[component] = {"matched": len(one.keys() & other.keys()), "missing": len(other.keys() - one.keys())}
            odd = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
            if odd:
                warnings.append(
                    f"{len(odd)} tensors of the {component} have no counterpart of their shape in the base, such as {odd[0]!r}"
                )
    kind = read_model_index(folder, True)["_class_name"]
    name = kind if isinstance(kind, str) else ".".join(kind)
    sides = {"candidate": folder} | ({"base": below.path} if below is not None and below.path is not None else {})
    return Inspection(
        reference.text,
        below.text if below else None,
        f"pipeline folder ({name})",
        holds,
        fit,
        notes=variants(folder),
        warnings=warnings,
        schedulers={side: facts for side, path in sides.items() if (facts := _scheduler(path))},
    )


def _scheduler(folder: Path) -> dict[str, str]:
    """Class and prediction type of a folder's scheduler, from its files; {} where they do not say."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        entry = read_model_index(folder, True).get("scheduler")
        settings = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < LARGEST_SETTINGS else None
    except (LoadError, OSError, ValueError, RecursionError):
        return {}
    if not isinstance(settings, dict) or not isinstance(entry, list) or len(entry) != 2:
        return {}
    return {"class": str(entry[1]), "prediction_type": str(settings.get("prediction_type", "epsilon"))}


def _header_counts(reference: ModelReference) -> dict[str, HeaderCounts]:
    """What the files of a model on this machine declare, by component; {} for other models."""
    if reference.path is None or reference.kind in {"hook", "images"}:
        return {}
    if not is_pipeline_folder(reference.path):
        return {"weights": _counts_of(weights_files(reference.path))}
    folders = [reference.path / name for name in sorted(NETWORKS) if (reference.path / name).is_dir()]
    files = {folder.name: component_weights(folder) for folder in folders}
    return {name: _counts_of(weights) for name, weights in files.items()}


def _counts_of(files: Sequence[Path]) -> HeaderCounts:
    with ExitStack() as stack:
        return _counts([stack.enter_context(OpenContents(file, headers_only=True)) for file in files], files)


def _counts(each: Sequence[Contents], files: Sequence[Path]) -> HeaderCounts:
    shapes = [shape for contents in each for shape in contents.shapes.values()]
    dtypes = Counter(dtype for contents in each for dtype in contents.dtypes.values())
    size = sum(file.stat().st_size for file in files)
    return HeaderCounts(len(shapes), sum(math.prod(shape) for shape in shapes), size, dict(sorted(dtypes.items())))


def _fit(layout: Layout, base: Shapes) -> dict[str, dict[str, int]]:
    matched, missing = layout.matched(), layout.missing(base)
    return {name: {"matched": count, "missing": missing.get(name, 0)} for name, count in matched.items()}


def _touched(layout: Layout) -> dict[str, int]:
    places = {(part.component, part.place) for part in layout.parts}
    places |= {(pair.component, pair.place) for pair in layout.low_rank}
    return dict(sorted(Counter(block_of(component, place) for component, place in places).items()))
