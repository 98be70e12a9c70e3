"""The load proof: which tensors found their place, and how the model differs from its base."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

import torch

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.layout import DENOISERS, block_of
from dmun_audit.models.rounding import least_change, rounded_type

EVERYWHERE = 0.95  # share of the denoiser's tensors
SMALL = 1e-2  # relative norm of a tensor's change
ROW = 4096  # numbers summed in single precision


State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class ComponentProof:
    """One network: tensors from the model's files, places that kept the base's tensors, and the distance from the base.

    `relative_norm` is ‖W − W_base‖ / ‖W_base‖ over its compared tensors. `changed` counts tensors that differ beyond rounding, and
    `rounded` those that differ by rounding to half precision alone. `unexpected` counts tensors without a place. It is always 0: any
    other model is refused.
    """

    matched: int = 0
    unexpected: int = 0
    missing: int = 0
    compared: int = 0
    changed: int = 0
    rounded: int = 0
    relative_norm: float = 0.0


@dataclass(frozen=True)
class LoadProof:
    """What was loaded, and how it differs from the base.

    Counts are sums over `components`. `relative_norm` is ‖W − W_base‖ / ‖W_base‖ over all compared tensors. `blocks` holds the same
    for each top block of the denoiser and for each other component. `notes` say what the file is and what was left out of it on
    purpose; `warnings` say what may be wrong. A base is compared with nothing. `probe` is what the model computes for fixed inputs
    (`probe.Probe.facts`).
    """

    format: str
    matched: int
    unexpected: int = 0
    missing: int = 0
    changed_tensors: int = 0
    rounded_tensors: int = 0
    compared_tensors: int = 0
    relative_norm: float = 0.0
    components: dict[str, ComponentProof] = field(default_factory=dict)
    blocks: dict[str, float] = field(default_factory=dict)
    changed_components: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    probe: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The proof as plain JSON values, for the manifest."""
        return asdict(self)


class Difference:
    """The difference between a model and its base: sums of squares of the change and of the base, by block."""

    def __init__(self) -> None:
        self.changed: dict[str, list[float]] = {}  # component → relative norm of each changed tensor
        self.rounded: dict[str, Counter[str]] = {}  # component → half precision → tensors that differ by rounding to it alone
        self.finer: dict[str, list[tuple[str, float, float]]] = {}  # changed tensors that are the base's before it was rounded
        self.compared: dict[str, int] = {}
        self.squares: dict[str, dict[str, tuple[float, float]]] = {}  # component → block → change, base
        self.warnings: list[str] = []

    def add(self, component: str, name: str, ours: torch.Tensor, base: torch.Tensor) -> None:
        """Compare one tensor with the base's; the shapes are the same."""
        before = base.to("cpu", torch.float32)
        change = 0.0
        if ours is not base and not torch.equal(ours.to(base.device), base):
            change = _square(ours.to("cpu", torch.float32) - before)
            half = rounded_type(ours, base)
            if half:
                self.rounded.setdefault(component, Counter())[half] += 1
            elif before_rounding := rounded_type(base, ours):
                self.finer.setdefault(component, []).append((before_rounding, change, _square(before)))
            self._count(component, name, change, _square(before), changed=not half)
        else:
            self._count(component, name, 0.0, _square(before), changed=False)

    def add_change(self, component: str, name: str, change: torch.Tensor, base: torch.Tensor) -> None:
        """Count what an adapter adds to one weight at full strength."""
        size = _square(change.to("cpu", torch.float32))
        self._count(component, name, size, _square(base.to("cpu", torch.float32)), changed=size > 0)

    def add_module(self, component: str, effective: bool) -> None:
        """Count a module that an adapter adds behind a module of the base. No norm of weights measures its effect."""
        self.compared[component] = self.compared.get(component, 0) + 1
        if effective:
            self.changed.setdefault(component, []).append(math.inf)

    def _count(self, component: str, name: str, change: float, weight: float, *, changed: bool) -> None:
        self.compared[component] = self.compared.get(component, 0) + 1
        if changed:
            self.changed.setdefault(component, []).append(_ratio(change, weight))
        blocks = self.squares.setdefault(component, {})
        so_far = blocks.get(block_of(component, name), (0.0, 0.0))
        blocks[block_of(component, name)] = (so_far[0] + change, so_far[1] + weight)

    def settle(self) -> None:
        """Count a component as rounded where all its changed tensors are the base's in a finer type.

        A tiny edit of a base in half precision looks like that too: its changes are smaller than those of rounding.
        """
        for component, tensors in self.finer.items():
            least = sum(least_change(half) ** 2 * weight for half, _, weight in tensors)
            if len(tensors) == len(self.changed[component]) and sum(change for _, change, _ in tensors) >= least:
                self.changed[component] = []
                self.rounded.setdefault(component, Counter()).update(half for half, _, _ in tensors)
        self.finer = {}

    def replace(self, component: str, why: str) -> None:
        """Count a component as changed whose tensors cannot be compared."""
        self.changed.setdefault(component, []).append(math.inf)
        self.warnings.append(f"{component} cannot be compared with the base's: {why}")

    def compare(self, component: str, ours: State, base: State, name: str) -> None:
        """Compare a network tensor by tensor. New rows of an embedding are left out.

        Raises LoadError where denoisers have different tensors or shapes. Any other network then counts as replaced.
        """
        grown = [key for key in ours.keys() & base.keys() if _grew(key, ours[key], base[key])]
        alone = sorted(ours.keys() ^ base.keys())
        odd = sorted(key for key in ours.keys() & base.keys() if ours[key].shape != base[key].shape and key not in grown)
        if not alone and not odd:
            for key in ours:
                self.add(component, key, ours[key][: len(base[key])] if key in grown else ours[key], base[key])
            for key in grown:
                self.warnings.append(f"{component} has {len(ours[key]) - len(base[key])} more words than the base's")
            if grown:
                self.changed.setdefault(component, []).append(math.inf)
            return
        why = f"{len(alone)} tensors are only in one of them, such as {alone[0]!r}" if alone else ""
        if odd:
            why = f"tensor {odd[0]!r} is {list(ours[odd[0]].shape)} in the candidate and {list(base[odd[0]].shape)} in the base"
        if component in DENOISERS:
            raise LoadError(f"{name} is not made from this base: the {component} is another network", why, "check --base")
        self.replace(component, why)

    def relative_norm(self, component: str | None = None) -> float:
        """‖Δ‖ / ‖W‖ of one component, or of all."""
        chosen = [self.squares.get(component, {})] if component is not None else list(self.squares.values())
        pairs = [pair for blocks in chosen for pair in blocks.values()]
        return _ratio(sum(change for change, _ in pairs), sum(weight for _, weight in pairs))

    def blocks(self) -> dict[str, float]:
        """‖Δ‖ / ‖W‖ by block."""
        return {block: _ratio(*pair) for _, blocks in sorted(self.squares.items()) for block, pair in sorted(blocks.items())}


def _grew(name: str, ours: torch.Tensor, base: torch.Tensor) -> bool:
    return name.endswith("token_embedding.weight") and len(ours) > len(base) and ours.shape[1:] == base.shape[1:]


@dataclass(frozen=True)
class LoadReport:
    """What one load did: the name of the format, matched and missing tensors by component, notes and warnings."""

    format: str
    matched: Mapping[str, int]
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


def prove(report: LoadReport, difference: Difference, *, name: str, must_differ: bool, otherwise: str = "") -> LoadProof:
    """The proof of one load. `name` is the candidate's reference, for messages. `otherwise` says what does differ where nothing does.

    Where nothing differs beyond rounding, it raises LoadError if the model `must_differ`, and warns otherwise. It also warns of a
    small difference in nearly every tensor of the denoiser.
    """
    difference.settle()
    warnings = [*report.warnings, *difference.warnings, *_looks_like_another_copy(difference)]
    rounding = list(_rounding(difference))
    if not any(difference.changed.values()):
        beyond = " beyond rounding" if rounding else ""
        what = f"{name} does not differ from its base{beyond} in any of {sum(difference.compared.values())} tensors"
        if must_differ:
            why = "; ".join([*rounding, *filter(None, [otherwise]), "an audit of it would audit the base"])
            raise LoadError(what, why, "check that this is the file with the edited weights")
        warnings.append(f"{what}: {'; '.join(rounding)}" if rounding else what)
    return _proof(replace(report, notes=[*report.notes, *rounding]), difference, warnings)


def prove_base(report: LoadReport) -> LoadProof:
    """The proof of a complete model that is compared with nothing."""
    return _proof(report, Difference(), list(report.warnings))


def _proof(report: LoadReport, difference: Difference, warnings: list[str]) -> LoadProof:
    names = sorted(report.matched.keys() | report.missing.keys() | difference.compared.keys() | difference.changed.keys())
    components = {
        name: ComponentProof(
            matched=report.matched.get(name, 0),
            missing=report.missing.get(name, 0),
            compared=difference.compared.get(name, 0),
            changed=len(difference.changed.get(name, [])),
            rounded=sum(difference.rounded.get(name, {}).values()),
            relative_norm=difference.relative_norm(name),
        )
        for name in names
    }
    return LoadProof(
        format=report.format,
        matched=sum(one.matched for one in components.values()),
        missing=sum(one.missing for one in components.values()),
        changed_tensors=sum(one.changed for one in components.values()),
        rounded_tensors=sum(one.rounded for one in components.values()),
        compared_tensors=sum(one.compared for one in components.values()),
        relative_norm=difference.relative_norm(),
        components=components,
        blocks=difference.blocks(),
        changed_components=sorted(name for name, norms in difference.changed.items() if norms),
        notes=list(report.notes),
        warnings=warnings,
    )


def _rounding(difference: Difference) -> Iterator[str]:
    """For each component and half precision: how many tensors differ from the base's by rounding alone."""
    for component, types in sorted(difference.rounded.items()):
        for half, count in sorted(types.items()):
            yield (
                f"{count} of {difference.compared[component]} tensors of the {component.replace('_', ' ')} differ from the base's "
                f"only by rounding to {half}"
            )


def _looks_like_another_copy(difference: Difference) -> Iterator[str]:
    """A warning for a small difference everywhere. The median decides: biases near zero differ by large factors in any copy."""
    for component in DENOISERS:
        norms = difference.changed.get(component, [])
        compared = difference.compared.get(component, 0)
        if compared and len(norms) >= EVERYWHERE * compared and median(norms) < SMALL:
            yield (
                f"{len(norms)} of {compared} tensors of the {component} differ from the base's, half of them by less than "
                f"{SMALL:.0%}: this looks like EMA weights, weights of another precision or another base"
            )


def _square(values: torch.Tensor) -> float:
    """Sum of squares: rows in float32, added up in float64. All in float32 loses 1% of a large tensor; all in float64 is slow."""
    flat = values.reshape(-1)
    whole = flat.numel() // ROW * ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1).double()
    rest = flat[whole:].double()
    return float(torch.dot(rows, rows) + torch.dot(rest, rest))


def _ratio(change: float, weight: float) -> float:
    """‖Δ‖/‖W‖ from their squares; 1 where zeros became something."""
    return math.sqrt(change / weight) if weight else float(change > 0)
