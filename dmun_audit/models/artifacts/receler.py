"""Receler: small erasers behind each cross-attention (Huang et al. 2023, arXiv 2311.17717, §3.1).

An eraser adds up(GELU(down(a))) to the output a of a cross-attention, before the residual sum, at every step and for both halves
of classifier-free guidance. It reads names and shapes of `eraser_weights.pt` as the released code saves it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.models.artifacts.layout import Layout, LowRank, Shapes, no_place
from dmun_audit.models.files.contents import Contents

if TYPE_CHECKING:
    import torch

ERASER = re.compile(r"(?:unet\.)?((?:down_blocks|up_blocks|mid_block)[\w.]*?attentions\.\d+)\.(down|up)\.(weight|bias)")


def is_receler(contents: Contents) -> bool:
    """Whether the file holds erasers: nothing but `down` and `up` layers of attention blocks."""
    return all(ERASER.fullmatch(name) for name in contents.shapes)


def lay_out_receler(contents: Contents, base: Shapes) -> Layout:
    """The cross-attention of the base's UNet for each eraser. Raises LoadError, naming the tensor, where there is none."""
    unet = base.get("unet", {})
    erasers: dict[str, dict[str, str]] = {}
    for name in contents.shapes:
        match = ERASER.fullmatch(name)
        if match:
            erasers.setdefault(match[1], {})[f"{match[2]}.{match[3]}"] = name
    pairs = []
    for prefix, names in erasers.items():
        places = [
            place
            for place in unet
            if place.startswith(f"{prefix}.transformer_blocks.") and place.endswith("attn2.to_out.0.weight")
        ]
        if len(places) != 1:
            raise no_place(
                contents.path, list(names.values()), len(contents.shapes), "one cross-attention of the base's unet", unet
            )
        missing = {"down.weight", "down.bias", "up.weight", "up.bias"} - names.keys()
        if missing:
            have = next(iter(names.values()))
            raise LoadError(f"{contents.path}: the eraser of {prefix!r} has {have!r} and no {min(missing)}", "", "save it again")
        _require_eraser(contents, prefix, names, unet[places[0]][0])
        rank = contents.shapes[names["down.weight"]][0]
        pairs.append(LowRank("unet", places[0], names["down.weight"], names["up.weight"], rank))
    biases = {pair.place: (pair.down.removesuffix("weight") + "bias", pair.up.removesuffix("weight") + "bias") for pair in pairs}
    return Layout(
        f"Receler ({len(pairs)} erasers of rank {max(pair.rank for pair in pairs)})",
        low_rank=tuple(pairs),
        adapter="receler",
        settings={"biases": biases},
        notes=(
            "Receler erasers stand behind the cross-attentions while images are made; the weights of the UNet are the base's",
        ),
    )


def _require_eraser(contents: Contents, prefix: str, names: dict[str, str], width: int) -> None:
    down = contents.shapes[names["down.weight"]]
    rank = down[0] if down else 0
    wanted = {"down.weight": (rank, width), "down.bias": (rank,), "up.weight": (width, rank), "up.bias": (width,)}
    for role, shape in wanted.items():
        have = contents.shapes[names[role]]
        if have != shape or not rank:
            raise LoadError(
                f"{contents.path} does not fit the base: tensor {names[role]!r} has another shape",
                f"it is {list(have)} in the file, and behind the cross-attention of {prefix!r} it should be {list(shape)}",
                "check that --base is the model this file was made from; nothing was loaded",
            )


class RecelerAdapter:
    """Receler's erasers on a pipeline."""

    def __init__(self, pipeline: Any, layout: Layout, contents: Contents) -> None:
        network = pipeline.unet
        for pair in layout.low_rank:
            attention = network.get_submodule(pair.place.removesuffix(".to_out.0.weight"))
            biases = layout.settings["biases"][pair.place]
            tensors = [contents.tensor(name) for name in (pair.down, biases[0], pair.up, biases[1])]
            attention.register_forward_hook(_hook([tensor.to(network.dtype).clone() for tensor in tensors]))
        self.digest = digest(["receler", [pair.place for pair in layout.low_rank]])


def _hook(tensors: list[torch.Tensor]) -> Any:
    def erase(layer: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        down, down_bias, up, up_bias = (tensor.to(output.device) for tensor in tensors)
        return output + F.linear(F.gelu(F.linear(output, down, down_bias)), up, up_bias)

    return erase
