"""Writes edited weights as the published methods do: from their descriptions, without the package's own readers."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

# The tiny UNet's modules in CompVis's code, module by module.
BLOCKS = {
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0": "down_blocks.0.resnets.0",
    "input_blocks.1.1": "down_blocks.0.attentions.0",
    "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks.3.0": "down_blocks.1.resnets.0",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "output_blocks.0.0": "up_blocks.0.resnets.0",
    "output_blocks.1.0": "up_blocks.0.resnets.1",
    "output_blocks.1.1.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.2.0": "up_blocks.1.resnets.0",
    "output_blocks.2.1": "up_blocks.1.attentions.0",
    "output_blocks.3.0": "up_blocks.1.resnets.1",
    "output_blocks.3.1": "up_blocks.1.attentions.1",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
# The tiny autoencoder's, where the names are not the same.
VAE = {
    "encoder.down_blocks.0.resnets.0": "encoder.down.0.block.0",
    "encoder.down_blocks.0.downsamplers.0.conv": "encoder.down.0.downsample.conv",
    "encoder.down_blocks.1.resnets.0": "encoder.down.1.block.0",
    "encoder.mid_block.resnets.0": "encoder.mid.block_1",
    "encoder.mid_block.resnets.1": "encoder.mid.block_2",
    "encoder.mid_block.attentions.0": "encoder.mid.attn_1",
    "decoder.mid_block.resnets.0": "decoder.mid.block_1",
    "decoder.mid_block.resnets.1": "decoder.mid.block_2",
    "decoder.mid_block.attentions.0": "decoder.mid.attn_1",
    "decoder.up_blocks.0.resnets.0": "decoder.up.1.block.0",
    "decoder.up_blocks.0.resnets.1": "decoder.up.1.block.1",
    "decoder.up_blocks.0.upsamplers.0.conv": "decoder.up.1.upsample.conv",
    "decoder.up_blocks.1.resnets.0": "decoder.up.0.block.0",
    "decoder.up_blocks.1.resnets.1": "decoder.up.0.block.1",
    "encoder.conv_norm_out": "encoder.norm_out",
    "decoder.conv_norm_out": "decoder.norm_out",
}
VAE_ATTENTION = {".group_norm.": ".norm.", ".to_q.": ".q.", ".to_k.": ".k.", ".to_v.": ".v.", ".to_out.0.": ".proj_out."}


def compvis_unet(state, prefix="model.diffusion_model."):
    """A UNet, or part of one, in CompVis's names."""
    found = {}
    for name, tensor in state.items():
        older = next(block for block, module in BLOCKS.items() if name.startswith(module + "."))
        rest = name.removeprefix(BLOCKS[older] + ".")
        layer, _, kind = rest.rpartition(".")
        rest = f"{LAYERS[layer]}.{kind}" if ".resnets." in name and layer in LAYERS else rest
        found[f"{prefix}{older}.{rest}"] = tensor.clone()
    return found


def compvis_vae(state):
    """An autoencoder in CompVis's names: attention is by convolutions of one pixel there."""
    found = {}
    for name, tensor in state.items():
        older = next((name.replace(module, VAE[module], 1) for module in VAE if name.startswith(module + ".")), name)
        older = older.replace("conv_shortcut", "nin_shortcut")
        if ".attn_1." in older:
            for ours, theirs in VAE_ATTENTION.items():
                older = older.replace(ours, theirs)
            tensor = tensor[..., None, None] if tensor.dim() == 2 else tensor
        found[f"first_stage_model.{older}"] = tensor.clone()
    return found


def compvis_text(state):
    """A CLIP text encoder as part of a checkpoint of SD 1."""
    return {f"cond_stage_model.transformer.text_model.{name}": tensor.clone() for name, tensor in state.items()}


def open_clip_text(state, prefix="cond_stage_model.model."):
    """A CLIP text encoder as open_clip keeps it: queries, keys and values in one."""
    renamed = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    found = {prefix + theirs: state[ours].clone() for ours, theirs in renamed.items()}
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layers.")}
    for layer in layers:
        ours, theirs = f"encoder.layers.{layer}.", f"{prefix}transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joined = [state[f"{ours}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            found[f"{theirs}attn.in_proj_{kind}"] = torch.cat(joined)
            for one, other in (
                ("self_attn.out_proj", "attn.out_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                found[f"{theirs}{other}.{kind}"] = state[f"{ours}{one}.{kind}"].clone()
    return found


def adapted_modules(unet):
    """The weights that adapters of these tests change: attention, feed-forward, a projection and a convolution."""
    return {
        name.removesuffix(".weight"): tensor
        for name, tensor in unet.state_dict().items()
        if name.endswith(("attn2.to_k.weight", "attn2.to_out.0.weight", "ff.net.2.weight", "proj_in.weight", "conv1.weight"))
    }


def kohya(modules, rank=2, alpha=1.0, seed=3, prefix="lora_unet_", scale=0.3):
    """Low-rank pairs for `modules` (name → weight) in the names of kohya's trainer."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in modules.items():
        stem = prefix + name.replace(".", "_")
        inner = (rank, *weight.shape[1:])
        outer = (weight.shape[0], rank, *[1] * (weight.dim() - 2))
        found[f"{stem}.lora_down.weight"] = torch.randn(inner, generator=generator) * scale
        found[f"{stem}.lora_up.weight"] = torch.randn(outer, generator=generator) * scale
        found[f"{stem}.alpha"] = torch.tensor(alpha)
    return found


def save_spm(path, tensors, prompts, rank, alpha):
    """An SPM with the metadata that its training writes."""
    save_file(tensors, path, metadata={"prompts": ",".join(prompts), "rank": str(rank), "alpha": str(alpha)})


def save_receler(folder, unet, rank=3, seed=4):
    """Receler's erasers behind each cross-attention; returns them as weights by attention."""
    generator = torch.Generator().manual_seed(seed)
    erasers = {}
    for name, weight in unet.state_dict().items():
        if name.endswith("attn2.to_out.0.weight"):
            width = weight.shape[0]
            erasers[name.partition(".transformer_blocks")[0]] = {
                "down.weight": torch.randn(rank, width, generator=generator),
                "down.bias": torch.randn(rank, generator=generator),
                "up.weight": torch.randn(width, rank, generator=generator),
                "up.bias": torch.randn(width, generator=generator),
            }
    folder.mkdir()
    torch.save(erasers, folder / "eraser_weights.pt")
    (folder / "eraser_config.json").write_text(json.dumps({"eraser_type": "adapter", "eraser_rank": rank}))
    return erasers


def flux_original(state):
    """A FLUX transformer in Black Forest Labs' names: fused projections, shift before scale at the end."""
    found = {}

    def put(theirs, *ours, swapped=False):
        for kind in ("weight", "bias"):
            parts = [state[f"{name}.{kind}"] for name in ours if f"{name}.{kind}" in state]
            if parts:
                joined = torch.cat(parts)
                found[f"{theirs}.{kind}"] = torch.cat([*joined.chunk(2)][::-1]) if swapped else joined.clone()

    put("img_in", "x_embedder")
    put("txt_in", "context_embedder")
    for theirs, ours in (("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance")):
        put(f"{theirs}.in_layer", f"time_text_embed.{ours}_embedder.linear_1")
        put(f"{theirs}.out_layer", f"time_text_embed.{ours}_embedder.linear_2")
    for number in sorted({name.split(".")[1] for name in state if name.startswith("transformer_blocks.")}):
        ours, theirs = f"transformer_blocks.{number}", f"double_blocks.{number}"
        for side, context, attention in (("img", "", "to_{}"), ("txt", "_context", "add_{}_proj")):
            put(f"{theirs}.{side}_attn.qkv", *(f"{ours}.attn.{attention.format(letter)}" for letter in "qkv"))
            put(f"{theirs}.{side}_attn.proj", f"{ours}.attn.to_out.0" if side == "img" else f"{ours}.attn.to_add_out")
            put(f"{theirs}.{side}_mod.lin", f"{ours}.norm1{context}.linear")
            put(f"{theirs}.{side}_mlp.0", f"{ours}.ff{context}.net.0.proj")
            put(f"{theirs}.{side}_mlp.2", f"{ours}.ff{context}.net.2")
            added = "added_" if side == "txt" else ""
            found[f"{theirs}.{side}_attn.norm.query_norm.scale"] = state[f"{ours}.attn.norm_{added}q.weight"].clone()
            found[f"{theirs}.{side}_attn.norm.key_norm.scale"] = state[f"{ours}.attn.norm_{added}k.weight"].clone()
    for number in sorted({name.split(".")[1] for name in state if name.startswith("single_transformer_blocks.")}):
        ours, theirs = f"single_transformer_blocks.{number}", f"single_blocks.{number}"
        put(f"{theirs}.linear1", *(f"{ours}.attn.to_{letter}" for letter in "qkv"), f"{ours}.proj_mlp")
        put(f"{theirs}.linear2", f"{ours}.proj_out")
        put(f"{theirs}.modulation.lin", f"{ours}.norm.linear")
        found[f"{theirs}.norm.query_norm.scale"] = state[f"{ours}.attn.norm_q.weight"].clone()
        found[f"{theirs}.norm.key_norm.scale"] = state[f"{ours}.attn.norm_k.weight"].clone()
    put("final_layer.linear", "proj_out")
    put("final_layer.adaLN_modulation.1", "norm_out.linear", swapped=True)
    return found
