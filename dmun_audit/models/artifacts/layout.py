"""Where the tensors of a weights file go: each has a place in a component of the base, and must have its shape."""

from __future__ import annotations

import difflib
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.naming import WHOLE, Source

Shape = tuple[int, ...]
Shapes = Mapping[str, Mapping[str, Shape]]  # component → place → shape: the base that a file is laid over


DENOISERS = ("unet", "transformer")
MOST_COMPARED = 1_000  # names that are compared letter by letter, to find the closest one
TEXT_PREFIX = "text_model."  # some text encoders of transformers lost it in version 5.6


def canonical_name(component: str, name: str) -> str:
    """A tensor's name as layouts spell it: without the prefix that only some versions of transformers have."""
    return name.removeprefix(TEXT_PREFIX) if component.startswith("text_encoder") else name


def actual_name(network: Any, place: str) -> str:
    """The name in `network`, a torch module, of the tensor at a layout's place."""
    return place if hasattr(network, place.split(".")[0]) else TEXT_PREFIX + place


def block_of(component: str, place: str) -> str:
    """The part of a model that a tensor belongs to: a top block of the denoiser, or any other component as a whole."""
    if component not in DENOISERS:
        return component
    parts = place.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1].isdigit() else parts[0]


@dataclass(frozen=True)
class Part:
    """A tensor of a component that the file replaces."""

    component: str
    place: str
    source: Source


@dataclass(frozen=True)
class LowRank:
    """A tensor W of a component that becomes W + scale · up·down, with `magnitude` rescaled to it (DoRA).

    `down`, `up`, `middle` and `magnitude` are names in the file. `rank` is the inner dimension, and `scale` is alpha / rank.
    Where the file holds alpha as a tensor, `alpha` names it. Where one pair serves several places, `source` says which rows of
    `up` belong to this place, and `outputs` is their number.
    """

    component: str
    place: str
    down: str
    up: str
    rank: int
    alpha: str | None = None
    scale: float = 1.0
    middle: str | None = None
    magnitude: str | None = None
    source: Source = WHOLE
    outputs: int = 0

    def sources(self) -> list[str]:
        """The names of the file's tensors that it uses."""
        return [name for name in (self.down, self.up, self.alpha, self.middle, self.magnitude) if name is not None]


@dataclass(frozen=True)
class Layout:
    """What a weights file is and does to its base.

    `format` is a name for people. `parts` replace tensors, and `low_rank` adds to them. `adapter` is "spm" or "receler" where the
    file changes what modules compute instead of their weights; the low-rank pairs then belong to the adapter. `tokens` are new
    words (token → names of tensors by component). `aside` says what was left out on purpose, `notes` what a reader of the proof
    should know. `settings` holds what an adapter needs besides tensors.
    """

    format: str
    parts: tuple[Part, ...] = ()
    low_rank: tuple[LowRank, ...] = ()
    adapter: str = ""
    tokens: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def sources(self) -> dict[str, set[str]]:
        """The file's tensors that find a place, by component."""
        used: dict[str, set[str]] = {}
        for part in self.parts:
            used.setdefault(part.component, set()).add(part.source.name)
        for pair in self.low_rank:
            biases = self.settings.get("biases", {}).get(pair.place, ())
            used.setdefault(pair.component, set()).update(pair.sources(), biases)
        for names in self.tokens.values():
            for component, name in names.items():
                used.setdefault(component, set()).add(name)
        return used

    def used(self) -> set[str]:
        """The file's tensors that find a place."""
        return set().union(*self.sources().values())

    def matched(self) -> dict[str, int]:
        """How many of the file's tensors found a place, by component."""
        return {component: len(names) for component, names in sorted(self.sources().items())}

    def missing(self, base: Shapes) -> dict[str, int]:
        """For each component whose weights the file replaces: how many tensors stay as in the base."""
        places: dict[str, set[str]] = {}
        for part in self.parts:
            places.setdefault(part.component, set()).add(part.place)
        return {component: len(base[component].keys() - replaced) for component, replaced in sorted(places.items())}


def require_fit(path: Path, layout: Layout, shapes: Mapping[str, Shape], base: Shapes) -> None:
    """Raise LoadError, naming the tensor and both shapes, where a tensor of the file does not have the shape of its place."""
    for part in layout.parts:
        have, want = shapes[part.source.name], base[part.component][part.place]
        if not _fits(have, part.source, want):
            raise _other_shape(path, part.source.name, have, f"{part.component} {part.place!r}", want)
    for pair in layout.low_rank:
        want = base[pair.component][pair.place]
        _require_low_rank(path, pair, shapes, want)


def _fits(have: Shape, source: Source, want: Shape) -> bool:
    if source.transposed:
        have = have[::-1]
    if source.rows is not None:
        have = (want[0], *have[1:]) if have and want and have[0] == source.rows else ()
    return without_ones(have) == without_ones(want)


def without_ones(shape: Shape) -> Shape:
    """A shape without its trailing ones: a 1×1 convolution and a linear layer hold the same numbers."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _require_low_rank(path: Path, pair: LowRank, shapes: Mapping[str, Shape], want: Shape) -> None:
    place = f"{pair.component} {pair.place!r}"
    down, up = shapes[pair.down], shapes[pair.up]
    outer, inner = want[0], math.prod(want[1:])
    middle = shapes[pair.middle] if pair.middle else ()
    inputs = math.prod(down[1:]) * (math.prod(middle[2:]) if middle else 1)
    if len(down) < 2 or inputs != inner or not down[0]:
        raise _other_shape(path, pair.down, down, place, want)
    rows = outer if pair.source.rows is None else pair.source.rows
    if len(up) < 2 or up[0] != rows or math.prod(up[1:]) != down[0]:
        raise _other_shape(path, pair.up, up, place, want)
    if middle and (len(middle) != 4 or middle[:2] != (down[0], down[0]) or tuple(middle[2:]) != want[2:]):
        raise _other_shape(path, str(pair.middle), middle, place, want)
    if pair.alpha is not None and math.prod(shapes[pair.alpha]) != 1:
        raise _other_shape(path, pair.alpha, shapes[pair.alpha], place, want)
    if pair.magnitude is not None and without_ones(shapes[pair.magnitude]) not in _magnitudes(pair.magnitude, want):
        raise _other_shape(path, pair.magnitude, shapes[pair.magnitude], place, want)


def _magnitudes(name: str, want: Shape) -> set[Shape]:
    """The shapes that a DoRA's magnitude may have: one number for each output; in older LyCORIS files for each input."""
    outer = want[0]
    return {(outer,), (1, *want[1:2])} if name.endswith("dora_scale") else {(outer,), (1, outer)}


def _other_shape(path: Path, name: str, have: Shape, place: str, want: Shape) -> LoadError:
    return LoadError(
        f"{path} does not fit the base: tensor {name!r} has another shape",
        f"it is {list(have)} in the file, and {place} is {list(want)} in the base",
        "check that --base is the model this file was made from; nothing was loaded",
    )


def no_place(path: Path, names: Sequence[str], total: int, where: str, known: Mapping[str, Any]) -> LoadError:
    """The error for tensors without a place: up to three of them, each with the closest name that the base has."""
    return LoadError(
        f"{path} does not fit the base: {len(names)} of its {total} tensors are not in {where}",
        "; ".join(_with_closest(name, known) for name in names[:3]),
        "check --base, and what the file is; nothing was loaded",
    )


def _with_closest(name: str, known: Mapping[str, Any]) -> str:
    likely = known if len(known) <= MOST_COMPARED else heapq.nlargest(MOST_COMPARED, known, _shared_with(name))
    close = difflib.get_close_matches(name, likely, n=1, cutoff=0.7)
    return f"{name!r} (closest: {close[0]!r})" if close else repr(name)


def _shared_with(name: str) -> Callable[[str], int]:
    """How many words a name shares with `name`: far quicker to count than letters are to compare."""
    words = set(_words(name))
    return lambda other: len(words.intersection(_words(other)))


def _words(name: str) -> list[str]:
    return name.replace("_", ".").split(".")
