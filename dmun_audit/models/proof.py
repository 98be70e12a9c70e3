"""Proof that what was loaded is what was meant: what differs from the base, and a digest of the weights in memory."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from statistics import median
from typing import Any

import torch

from dmun_audit.canonical import digest
from dmun_audit.errors import LoadError

DENOISERS = ("unet", "transformer")
EVERYWHERE = 0.95  # share of the denoiser's tensors
SMALL = 1e-2  # relative norm of a tensor's change
HASHING_THREADS = 8
ROW = 4096  # numbers summed in single precision


@dataclass(frozen=True)
class LoadProof:
    """What was loaded, and how it differs from the base.

    `matched` tensors came from the model's files; `unexpected` ones had no place and `missing` ones no source (both 0, or
    the model is refused). `relative_norm` is ‖W − W_base‖ / ‖W_base‖ over all compared tensors, `blocks` the same for each top
    block of the denoiser and each other component. A base is compared with nothing.
    """

    format: str
    matched: int
    unexpected: int = 0
    missing: int = 0
    changed_tensors: int = 0
    compared_tensors: int = 0
    relative_norm: float = 0.0
    blocks: dict[str, float] = field(default_factory=dict)
    changed_components: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The proof as plain JSON values, for the manifest."""
        return asdict(self)


class _Difference:
    """Sums of squares of change and base, by block."""

    def __init__(self) -> None:
        self.changed: dict[str, list[float]] = {}  # component → relative norm of each changed tensor
        self.compared: dict[str, int] = {}
        self.squares: dict[str, tuple[float, float]] = {}
        self.warnings: list[str] = []

    def add(self, component: str, name: str, ours: torch.Tensor, base: torch.Tensor) -> None:
        self.compared[component] = self.compared.get(component, 0) + 1
        before = base.to("cpu", torch.float32)
        weight = _square(before)
        change = 0.0
        if not torch.equal(ours.to(base.device), base):
            change = _square(ours.to("cpu", torch.float32) - before)
            self.changed.setdefault(component, []).append(_ratio(change, weight))
        block = _block(component, name)
        so_far = self.squares.get(block, (0.0, 0.0))
        self.squares[block] = (so_far[0] + change, so_far[1] + weight)

    def replace(self, component: str, why: str) -> None:
        """Count a component whose tensors cannot be compared as changed."""
        self.changed.setdefault(component, []).append(math.inf)
        self.warnings.append(f"{component} cannot be compared with the base's: {why}")


def prove(pipeline: Any, base: Any, *, form: str, matched: int, name: str, must_differ: bool) -> LoadProof:
    """Compare a candidate `pipeline` with the pipeline of its `base`, tensor by tensor.

    `name` is the candidate's reference, for messages; `form` and `matched` go into the proof. Raises LoadError where the
    denoisers have different tensors or shapes, and where nothing differs although it `must_differ`; where it need not, that
    is a warning. A small difference in nearly every tensor of the denoiser is a warning too.
    """
    difference = _Difference()
    ours, theirs = modules(pipeline), modules(base)
    for component in sorted(ours.keys() | theirs.keys()):
        if component not in ours or component not in theirs:
            difference.replace(component, f"only the {'candidate' if component in ours else 'base'} has it")
            continue
        _compare(difference, component, ours[component].state_dict(), theirs[component].state_dict(), name)
    changed = sum(len(norms) for norms in difference.changed.values())
    warnings = [*difference.warnings, *_looks_like_another_copy(difference)]
    if not changed:
        what = f"{name} does not differ from its base in any of {sum(difference.compared.values())} tensors"
        if must_differ:
            raise LoadError(what, "an audit of it would audit the base", "check that this is the file with the edited weights")
        warnings.append(what)
    squares = difference.squares
    return LoadProof(
        format=form,
        matched=matched,
        changed_tensors=changed,
        compared_tensors=sum(difference.compared.values()),
        relative_norm=_ratio(sum(change for change, _ in squares.values()), sum(weight for _, weight in squares.values())),
        blocks={block: _ratio(*squares[block]) for block in sorted(squares)},
        changed_components=sorted(difference.changed),
        warnings=warnings,
    )


def _compare(difference: _Difference, component: str, ours: dict[str, Any], base: dict[str, Any], name: str) -> None:
    alone = sorted(ours.keys() ^ base.keys())
    odd = sorted(key for key in ours.keys() & base.keys() if ours[key].shape != base[key].shape)
    if alone:
        why = f"{len(alone)} tensors are only in one of them, such as {alone[0]!r}"
    elif odd:
        why = f"tensor {odd[0]!r} is {list(ours[odd[0]].shape)} in the candidate and {list(base[odd[0]].shape)} in the base"
    else:
        for key in ours:
            difference.add(component, key, ours[key], base[key])
        return
    if component in DENOISERS:
        raise LoadError(f"{name} is not made from this base: the {component} is another network", why, "check --base")
    difference.replace(component, why)


def _looks_like_another_copy(difference: _Difference) -> Iterator[str]:
    """The median and not every tensor counts: biases near zero change by large factors between any two copies."""
    for component in DENOISERS:
        norms = difference.changed.get(component, [])
        compared = difference.compared.get(component, 0)
        if compared and len(norms) >= EVERYWHERE * compared and median(norms) < SMALL:
            yield (
                f"{len(norms)} of {compared} tensors of the {component} differ from the base's, half of them by less than "
                f"{SMALL:.0%}: this looks like EMA weights, weights of another precision or another base"
            )


def modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    """The pipeline's networks by component name."""
    found = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return dict(sorted(found.items()))


def require_finite(where: str, tensors: dict[str, torch.Tensor]) -> None:
    """Raise LoadError, naming the tensor, where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            kind = "NaN" if bool(torch.isnan(tensor).any()) else "infinite numbers"
            raise LoadError(
                f"{where}: tensor {name!r} holds {kind}",
                f"as loaded, in {str(tensor.dtype).removeprefix('torch.')}",
                "save the model again, or load it in a wider type",
            )


def _block(component: str, name: str) -> str:
    if component not in DENOISERS:
        return component
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1].isdigit() else parts[0]


def _square(values: torch.Tensor) -> float:
    """Sum of squares: rows in float32, added up in float64. All in float32 loses 1% over a large tensor, all in float64 is slow."""
    flat = values.reshape(-1)
    whole = flat.numel() // ROW * ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1).double()
    rest = flat[whole:].double()
    return float(torch.dot(rows, rows) + torch.dot(rest, rest))


def _ratio(change: float, weight: float) -> float:
    """‖Δ‖/‖W‖ from their squares; 1 where zeros became something."""
    return math.sqrt(change / weight) if weight else float(change > 0)


def weights_digest(pipeline: Any) -> str:
    """SHA-256 of everything in memory that decides an image besides prompt, seed and sampling.

    Covers each network's tensors (component, name, dtype, shape, bytes) and configuration, the tokenizers and the
    scheduler's configuration; not where they came from, nor the device.
    """
    tensors = [(part, name, value) for part, network in modules(pipeline).items() for name, value in network.state_dict().items()]
    with ThreadPoolExecutor(min(HASHING_THREADS, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(lambda entry: _tensor_digest(entry[2]), tensors))
    entries = [
        [part, name, str(value.dtype), list(value.shape), found]
        for (part, name, value), found in zip(tensors, hashes, strict=True)
    ]
    settings = {name: _settings(part) for name, part in sorted(pipeline.components.items())}
    return digest([sorted(entries), settings])


def _tensor_digest(tensor: torch.Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def _settings(part: Any) -> Any:
    """A component's configuration or vocabulary as plain values, without paths and library versions."""
    if hasattr(part, "get_vocab"):
        backend = getattr(part, "backend_tokenizer", None)
        words = json.loads(backend.to_str())["model"] if backend is not None else part.get_vocab()
        return [digest(words), part.model_max_length]
    config = getattr(part, "config", None)
    values = config.to_dict() if config is not None and hasattr(config, "to_dict") else dict(config or {})
    kept = {
        key: value
        for key, value in values.items()
        if not key.startswith("_") and key not in {"transformers_version", "dtype", "torch_dtype"}
    }
    return json.loads(json.dumps(kept, default=str), parse_constant=str)  # schedulers have infinite settings
