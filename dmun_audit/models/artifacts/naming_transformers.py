"""Names of the transformers' weights of FLUX and SD3 in the code of their authors, and in diffusers.

That code keeps queries, keys and values in one tensor (in FLUX's single blocks also the first layer of the MLP). In the last
modulation it has shift before scale, and diffusers has scale before shift. Sources: black-forest-labs/flux (`model.py`),
Stability-AI/sd3.5 (`mmditx.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dmun_audit.models.artifacts.naming import Source

Shapes = Mapping[str, tuple[int, ...]]
QKV = ("q", "k", "v")
LAST_MODULATION = "final_layer.adaLN_modulation.1"
SWAPPED = "norm_out.linear"  # diffusers' name of it
FLUX_ENDS = {
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
    SWAPPED: LAST_MODULATION,
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
}
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
FLUX_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
    "proj_out": "linear2",
}
SD3_ENDS = {
    "context_embedder": "context_embedder",
    "pos_embed.proj": "x_embedder.proj",
    "proj_out": "final_layer.linear",
    SWAPPED: LAST_MODULATION,
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}
SD3_BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}


def original(base: Shapes) -> Iterable[tuple[Source, str]]:
    """The names of `flux` or `sd3` where the base has such a transformer; nothing for any other."""
    pooled = "time_text_embed.text_embedder.linear_1.weight" in base
    if pooled and any(place.endswith(".proj_mlp.weight") for place in base):
        return flux(base)
    return sd3(base) if pooled and "pos_embed.pos_embed" in base else ()


def flux(base: Shapes) -> Iterator[tuple[Source, str]]:
    """Where each tensor of a FLUX transformer lies in the weights of Black Forest Labs, with its name in diffusers."""
    for place in base:
        module, _, kind = place.rpartition(".")
        if module in FLUX_ENDS:
            yield Source(f"{FLUX_ENDS[module]}.{kind}", swapped=module == SWAPPED), place
        elif match := re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", module):
            block = f"double_blocks.{match[1]}"
            yield _of_double(block, match[2], kind, base[place][0]), place
        elif match := re.fullmatch(r"single_transformer_blocks\.(\d+)\.(.+)", module):
            block = f"single_blocks.{match[1]}"
            yield _of_single(block, match[2], kind, place, base), place


def _of_double(block: str, module: str, kind: str, rows: int) -> Source:
    if match := re.fullmatch(r"attn\.(?:to|add)_([qkv])(?:_proj)?", module):
        side = "txt" if module.startswith("attn.add") else "img"
        return Source(f"{block}.{side}_attn.qkv.{kind}", QKV.index(match[1]) * rows, 3 * rows)
    ending = "scale" if module.startswith("attn.norm") else kind
    return Source(f"{block}.{FLUX_DOUBLE.get(module, module)}.{ending}")


def _of_single(block: str, module: str, kind: str, place: str, base: Shapes) -> Source:
    if module.startswith("attn.to_") or module == "proj_mlp":
        stem = place.removesuffix(f"{module}.{kind}")
        width, inner = base[f"{stem}attn.to_q.{kind}"][0], base[f"{stem}proj_mlp.{kind}"][0]
        first = 3 * width if module == "proj_mlp" else QKV.index(module[-1]) * width
        return Source(f"{block}.linear1.{kind}", first, 3 * width + inner)
    return Source(f"{block}.{FLUX_SINGLE.get(module, module)}.{'scale' if module.startswith('attn.norm') else kind}")


def sd3(base: Shapes) -> Iterator[tuple[Source, str]]:
    """Where each tensor of an SD3 transformer lies in Stability's weights, with its name in diffusers."""
    last = max((int(match[1]) for place in base if (match := re.match(r"transformer_blocks\.(\d+)\.", place))), default=-1)
    for place in base:
        module, _, kind = place.rpartition(".")
        if place == "pos_embed.pos_embed":
            yield Source("pos_embed"), place
        elif module in SD3_ENDS:
            yield Source(f"{SD3_ENDS[module]}.{kind}", swapped=module == SWAPPED), place
        elif match := re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", module):
            block, inner = f"joint_blocks.{match[1]}", match[2]
            if joined := re.fullmatch(r"(attn2?)\.(?:to|add)_([qkv])(?:_proj)?", inner):
                side = "context_block" if ".add_" in inner else "x_block"
                rows = base[place][0]
                yield Source(f"{block}.{side}.{joined[1]}.qkv.{kind}", QKV.index(joined[2]) * rows, 3 * rows), place
            else:
                swapped = int(match[1]) == last and inner == "norm1_context.linear"
                yield Source(f"{block}.{SD3_BLOCK.get(inner, inner)}.{kind}", swapped=swapped), place
