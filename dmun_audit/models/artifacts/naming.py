"""Names of Stable Diffusion's weights in the code of its authors, and in diffusers.

The base's names are translated to the older ones, and a file's names are looked up among these: so a part of a network is
recognised like the whole. The structure is read from the base's own names. Sources: the configurations and modules of
CompVis/stable-diffusion (`ldm`), Stability-AI/generative-models (`sgm`) and mlfoundations/open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


class Source(NamedTuple):
    """Where a tensor lies in a file. In a larger tensor, `first_row` is its first row, and `rows` counts the larger tensor's rows.

    Rows and columns of `transposed` tensors are exchanged, and upper and lower half of `swapped` ones.
    """

    name: str
    first_row: int = 0
    rows: int | None = None
    transposed: bool = False
    swapped: bool = False


WHOLE = Source("")  # all rows, as they are


def compvis_unet(names: Collection[str]) -> dict[str, str]:
    """The UNet's tensor names in diffusers, by the names in CompVis's and Stability's code.

    A name without counterpart is left out.
    """
    layers = 1 + max(
        (int(match[1]) for name in names if (match := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name))), default=0
    )
    return {older: name for name in names if (older := _unet_name(name, layers, names))}


def _unet_name(name: str, layers: int, names: Collection[str]) -> str:
    module, _, kind = name.rpartition(".")
    if module in UNET_ENDS:
        return f"{UNET_ENDS[module]}.{kind}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if match:
        side, block, part, place, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        if part == "downsamplers":
            return f"input_blocks.{(layers + 1) * (block + 1)}.0.{rest.replace('conv.', 'op.', 1)}"
        if part == "upsamplers":
            attends = any(other.startswith(f"up_blocks.{block}.attentions.") for other in names)
            return f"output_blocks.{(layers + 1) * block + layers}.{1 + attends}.{rest}"
        number = (layers + 1) * block + place
        home = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
        return f"{home}.0.{_within(rest, RESNET)}" if part == "resnets" else f"{home}.1.{rest}"
    match = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
    if match:
        number = 2 * int(match[2]) + (match[1] == "attentions")
        return f"middle_block.{number}.{_within(match[3], RESNET) if match[1] == 'resnets' else match[3]}"
    return ""


def compvis_vae(names: Collection[str]) -> dict[str, str]:
    """The autoencoder's tensor names in diffusers, by the names in CompVis's code."""
    ups = 1 + max((int(match[1]) for name in names if (match := re.match(r"decoder\.up_blocks\.(\d+)\.", name))), default=0)
    return {_vae_name(name, ups): name for name in names}


def _vae_name(name: str, ups: int) -> str:
    match = re.fullmatch(r"(encoder|decoder)\.(.+)", name)
    if not match:
        return name
    half, rest = match[1], match[2]
    rest = re.sub(r"^down_blocks\.(\d+)\.resnets\.(\d+)\.", r"down.\1.block.\2.", rest)
    rest = re.sub(r"^down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", rest)
    rest = re.sub(r"^up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: f"up.{ups - 1 - int(m[1])}.block.{m[2]}.", rest)
    rest = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{ups - 1 - int(m[1])}.upsample.", rest)
    rest = re.sub(r"^mid_block\.resnets\.(\d+)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", rest)
    rest = re.sub(r"^mid_block\.attentions\.0\.(.+)", lambda m: f"mid.attn_1.{_within(m[1], VAE_ATTENTION)}", rest)
    rest = rest.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    return f"{half}.{rest}"


def _within(rest: str, table: dict[str, str]) -> str:
    module, _, kind = rest.rpartition(".")
    return f"{table.get(module, module)}.{kind}"


def open_clip_text(base: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[Source, str]]:
    """Where each tensor of a CLIP text encoder lies in open_clip's weights, with its name in transformers.

    open_clip keeps queries, keys and values in one tensor, and keeps the projection of the text transposed.
    """
    for name in base:
        if name in OPEN_CLIP_ENDS:
            yield Source(OPEN_CLIP_ENDS[name]), name
        elif name == "text_projection.weight":
            yield Source("text_projection", transposed=True), name
        elif match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            layer, module, kind = f"transformer.resblocks.{match[1]}", match[2], match[3]
            if module in OPEN_CLIP_LAYER:
                yield Source(f"{layer}.{OPEN_CLIP_LAYER[module]}.{kind}"), name
            elif module.startswith("self_attn.") and module[10] in "qkv":
                rows = base[name][0]
                yield Source(f"{layer}.attn.in_proj_{kind}", "qkv".index(module[10]) * rows, 3 * rows), name
