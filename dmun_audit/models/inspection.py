"""What a model is and whether it fits its base, without rendering anything: the load proof alone, or the headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

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
)
from dmun_audit.models.references import ModelReference, atelier_own_base
from dmun_audit.models.source_files import source_digest


@dataclass(frozen=True)
class Holding:
    """What the headers of one file or component declare: how many tensors and numbers, of which types, in how many bytes."""

    tensors: int
    numbers: int
    bytes: int
    dtypes: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """What `dmun-audit inspect` says. `proof` is that of a load; None where only headers were read or no base was named.

    `holds` goes by component, `fit` too: how many tensors found a place in the base and how many places keep the base's. `touched`
    counts the base's tensors that a file changes, by block.
    """

    model: str
    base: str | None
    format: str
    holds: dict[str, Holding]
    fit: dict[str, dict[str, int]] = field(default_factory=dict)
    touched: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    source_digest: str | None = None
    weights_digest: str | None = None
    proof: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The inspection as plain JSON values."""
        return asdict(self)


def inspect_quickly(reference: ModelReference, base: ModelReference | None, trust_remote_code: bool = False) -> Inspection:
    """Read headers only: what the model holds, and, with a base, whether every tensor has a place of its shape there.

    Raises LoadError where it does not fit, and where files are damaged or dangerous. No tensor is read.
    """
    below = atelier_own_base(reference) or base
    if reference.path is None or reference.kind in {"hook", "images"}:
        raise LoadError(f"{reference.text} has no headers to read", "it is no file or folder", "leave --quick out")
    if reference.kind == "folder" or (reference.kind == "atelier" and reference.path.is_dir()):
        check_folder(reference.path, trust_remote_code)
        return _quick_folder(reference, reference.path, below if below is not None and below.path is not None else None)
    if reference.path.is_dir():
        refuse_foreign_links(reference.path)
    with OpenContents(reference.path, headers_only=True) as contents:
        holds = {"weights": _holding([contents], weights_files(reference.path))}
        if below is None:
            note = "without --base nothing says whether it fits"
            return Inspection(reference.text, None, f"read as {reading_of(contents)}", holds, notes=[note])
        shapes = _shapes_of(below)
        layout = lay_out(contents, shapes)
        fit, notes = _fit(layout, shapes), [*layout.notes, *layout.aside]
        return Inspection(reference.text, below.text, layout.format, holds, fit, _touched(layout), notes)


def inspect_fully(
    reference: ModelReference, base: ModelReference | None, dtype: str = "float32", trust_remote_code: bool = False
) -> Inspection:
    """Load the model as an audit would, and prove it. Without a base, a complete model is loaded and compared with nothing.

    Raises what loading raises; weights without a base are looked at by their headers.
    """
    below = atelier_own_base(reference) or base
    if below is None and reference.kind == "weights":
        return replace(inspect_quickly(reference, None, trust_remote_code), source_digest=source_digest(reference))
    from dmun_audit.models.loading import load_candidate, load_pipeline

    if below is None or reference == below:
        model = load_pipeline(reference, dtype, trust_remote_code=trust_remote_code)
    else:
        model = load_candidate(reference, below, dtype, trust_remote_code=trust_remote_code)
    proof = model.proof
    fit = {name: {"matched": found["matched"], "missing": found["missing"]} for name, found in proof["components"].items()}
    return Inspection(
        reference.text,
        below.text if below is not None else None,
        proof["format"],
        _held(reference),
        fit,
        notes=proof["notes"],
        warnings=proof["warnings"],
        source_digest=model.source_digest,
        weights_digest=model.weights_digest,
        proof=proof,
    )


def _shapes_of(base: ModelReference) -> Shapes:
    if base.path is None or not base.path.is_dir():
        raise LoadError(
            f"--base={base.text} has no headers to read", "it is no pipeline folder on this machine", "leave --quick out"
        )
    check_folder(base.path)
    shapes = folder_shapes(base.path)
    if shapes is None:
        raise LoadError(f"--base={base.text} keeps weights in pickles, which have no headers", "", "leave --quick out")
    return shapes


def _quick_folder(reference: ModelReference, folder: Path, below: ModelReference | None) -> Inspection:
    holds, ours = _held(reference), folder_shapes(folder)
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
    return Inspection(reference.text, below.text if below else None, f"pipeline folder ({name})", holds, fit, warnings=warnings)


def _held(reference: ModelReference) -> dict[str, Holding]:
    """What the files of a model on this machine declare, by component; nothing for others."""
    if reference.path is None or reference.kind in {"hook", "images"}:
        return {}
    if not (reference.path / "model_index.json").is_file():
        return {"weights": _holding_of(weights_files(reference.path))}
    folders = [reference.path / name for name in sorted(NETWORKS) if (reference.path / name).is_dir()]
    files = {folder.name: component_weights(folder) for folder in folders}
    return {name: _holding_of(found) for name, found in files.items()}


def _holding_of(files: Sequence[Path]) -> Holding:
    with ExitStack() as stack:
        return _holding([stack.enter_context(OpenContents(file, headers_only=True)) for file in files], files)


def _holding(each: Sequence[Contents], files: Sequence[Path]) -> Holding:
    shapes = [shape for contents in each for shape in contents.shapes.values()]
    dtypes = Counter(dtype for contents in each for dtype in contents.dtypes.values())
    size = sum(file.stat().st_size for file in files)
    return Holding(len(shapes), sum(math.prod(shape) for shape in shapes), size, dict(sorted(dtypes.items())))


def _fit(layout: Layout, base: Shapes) -> dict[str, dict[str, int]]:
    matched, missing = layout.matched(), layout.missing(base)
    return {name: {"matched": count, "missing": missing.get(name, 0)} for name, count in matched.items()}


def _touched(layout: Layout) -> dict[str, int]:
    places = {(part.component, part.place) for part in layout.parts}
    places |= {(pair.component, pair.place) for pair in layout.low_rank}
    return dict(sorted(Counter(block_of(component, place) for component, place in places).items()))
