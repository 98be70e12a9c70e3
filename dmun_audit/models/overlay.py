"""Lays a weights file over the pipeline of its base, one tensor at a time.

Every changed tensor gets memory of its own. So the pipeline may share the memory of its weights with the base's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.layout import Layout, Part, Shape, actual_name, canonical_name
from dmun_audit.models.files.contents import Contents, require_plain
from dmun_audit.models.fingerprint import modules, require_finite

MASK_AT_LEAST = 1_000  # numbers of a tensor; fewer may be zeros and ones by chance


def pipeline_shapes(pipeline: Any) -> dict[str, dict[str, Shape]]:
    """Component → place → shape of a pipeline in memory."""
    return {
        component: {canonical_name(component, name): tuple(value.shape) for name, value in network.state_dict().items()}
        for component, network in modules(pipeline).items()
    }


def lay_over(pipeline: Any, layout: Layout, contents: Contents) -> Any:
    """Write the file's weights into the pipeline. Returns the adapter that works while images are made, or None.

    Raises LoadError, naming the tensor, for numbers that are NaN or infinite in the base's dtype, for weights that are not
    floating-point, and for two different tensors of one place.
    """
    alphas = {pair.alpha for pair in layout.low_rank}
    require_plain(contents, sorted(layout.used() - alphas))
    networks = modules(pipeline)
    with torch.no_grad():
        _replace(networks, layout.parts, contents)
        if layout.adapter:
            return _adapter(pipeline, layout, contents)
        _merge(networks, layout, contents)
    if layout.tokens:
        from dmun_audit.models.artifacts.textual_inversion import add_tokens

        _require_finite_sources(contents, [name for names in layout.tokens.values() for name in names.values()])
        add_tokens(pipeline, layout, contents)
    return None


def _replace(networks: Mapping[str, torch.nn.Module], parts: Iterable[Part], contents: Contents) -> None:
    filled: dict[tuple[str, str], str] = {}
    states = {component: network.state_dict(keep_vars=True) for component, network in networks.items()}
    binary = large = 0
    for part in parts:
        place = states[part.component][actual_name(networks[part.component], part.place)]
        tensor = _read(part, contents, len(place)).reshape(place.shape).to(place.dtype)
        require_finite(str(contents.path), {part.source.name: tensor})
        first = filled.setdefault((part.component, part.place), part.source.name)
        if first != part.source.name and not torch.equal(place, tensor.to(place.device)):
            raise LoadError(
                f"{contents.path}: tensors {first!r} and {part.source.name!r} are for the same place and differ",
                f"the place is {part.component} {part.place!r}",
                "remove one of them",
            )
        if tensor.numel() >= MASK_AT_LEAST:
            large += 1
            binary += bool(((tensor == 0) | (tensor == 1)).all())
        _give(place, tensor)
    if large and binary == large:
        raise LoadError(
            f"{contents.path} holds only zeros and ones",
            "it looks like a saliency mask, and no weights",
            "name the edited weights",
        )


def _give(place: torch.Tensor, numbers: torch.Tensor) -> None:
    """Let a weight of a network hold these numbers, in memory that it shares with nothing."""
    place.data = torch.empty(place.shape, dtype=place.dtype, device=place.device).copy_(numbers)


def _read(part: Part, contents: Contents, rows: int) -> torch.Tensor:
    """The numbers of a part whose place has `rows` rows."""
    tensor: torch.Tensor = contents.tensor(part.source.name)
    if part.source.rows is not None:
        tensor = tensor[part.source.first_row : part.source.first_row + rows]
    if part.source.swapped:
        tensor = torch.cat(tensor.chunk(2)[::-1])
    return tensor.T if part.source.transposed else tensor


def _merge(networks: Mapping[str, torch.nn.Module], layout: Layout, contents: Contents) -> None:
    from dmun_audit.models.artifacts.lora import merged

    for pair in layout.low_rank:
        _require_finite_sources(contents, pair.sources())
        network = networks[pair.component]
        place = network.state_dict(keep_vars=True)[actual_name(network, pair.place)]
        result = merged(place, pair, contents)
        require_finite(str(contents.path), {pair.up: result})
        _give(place, result)


def _require_finite_sources(contents: Contents, names: Iterable[str]) -> None:
    for name in names:
        require_finite(str(contents.path), {name: contents.tensor(name)})


def _adapter(pipeline: Any, layout: Layout, contents: Contents) -> Any:
    from dmun_audit.models.artifacts.receler import RecelerAdapter
    from dmun_audit.models.artifacts.spm import SpmAdapter

    _require_finite_sources(contents, layout.used())
    return {"spm": SpmAdapter, "receler": RecelerAdapter}[layout.adapter](pipeline, layout, contents)
