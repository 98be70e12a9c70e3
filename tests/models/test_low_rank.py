"""LoRA, LoCon and DoRA in every naming: the same images as the published formula by hand, or as peft makes of them."""

from __future__ import annotations

import json

import pytest
import torch
import writers
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow

# LoRA and DoRA.


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_a_lora_in_kohyas_names_is_the_published_formula(truth, loads_as, tmp_path, alpha):
    targets = writers.adapted_modules(truth.unet)
    tensors = writers.kohya(targets, rank=2, alpha=alpha)
    text = {"encoder.layers.0.self_attn.q_proj": truth.text_encoder.state_dict()["encoder.layers.0.self_attn.q_proj.weight"]}
    tensors |= writers.kohya({f"text_model.{name}": tensor for name, tensor in text.items()}, alpha=alpha, prefix="lora_te_")
    save_file(tensors, tmp_path / "lora.safetensors")
    for name, weight in targets.items():
        stem = "lora_unet_" + name.replace(".", "_")
        down, up = tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"]
        weight += ((up.flatten(1) @ down.flatten(1)) * (alpha / 2)).reshape(weight.shape)
    for name, weight in text.items():
        stem = "lora_te_text_model_" + name.replace(".", "_")
        weight += (tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"]) * (alpha / 2)
    proof = loads_as(tmp_path / "lora.safetensors", truth).proof
    assert proof["format"] == "LoRA (kohya names)"
    assert proof["matched"] == len(tensors)
    assert proof["components"]["unet"]["changed"] == len(targets)


def test_kohyas_names_after_the_blocks_of_compvis(truth, loads_as, tmp_path):
    """What the trainer calls the modules of SDXL."""
    targets = {name: tensor for name, tensor in writers.adapted_modules(truth.unet).items() if "attn2" in name}
    older = {
        name.removesuffix(".weight"): tensor
        for name, tensor in writers.compvis_unet({f"{name}.weight": tensor for name, tensor in targets.items()}, "").items()
    }
    tensors = writers.kohya(older)
    save_file(tensors, tmp_path / "lora.safetensors")
    for weight, other in zip(targets.values(), older, strict=True):
        stem = "lora_unet_" + other.replace(".", "_")
        weight += tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * 0.5
    loads_as(tmp_path / "lora.safetensors", truth)


def _peft(truth, tmp_path, **settings):
    """Have peft itself make an adapter, write it through diffusers, and merge it."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(7)
    wanted = ["attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2"]
    truth.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=wanted, **settings))
    if settings.get("use_dora"):
        for name, parameter in truth.unet.named_parameters():
            if "magnitude" in name:
                parameter.data.mul_(1.1)
    return StableDiffusionPipeline, get_peft_model_state_dict(truth.unet)


@pytest.mark.parametrize(
    "settings", [{"lora_alpha": 2}, {"lora_alpha": 5}, {"lora_alpha": 4, "use_dora": True}, {"lora_alpha": 3, "use_rslora": True}]
)
@pytest.mark.parametrize("names", ["diffusers", "peft"])
def test_an_adapter_made_by_peft(truth, loads_as, tmp_path, settings, names):
    kind, state = _peft(truth, tmp_path, **settings)
    state = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    folder = tmp_path / "adapter"
    if names == "peft":
        folder.mkdir()
        save_file({f"base_model.model.{name}": tensor for name, tensor in state.items()}, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"r": 2, **settings}))
    else:
        config = {"r": 2, **settings}
        kind.save_lora_weights(folder, unet_lora_layers=state, unet_lora_adapter_metadata=config)
    truth.unet.fuse_lora()
    truth.unet.unload_lora()
    proof = loads_as(folder, truth).proof
    assert proof["format"] == f"{'DoRA' if 'use_dora' in settings else 'LoRA'} ({names} names)"
    assert proof["matched"] == len(state)


def test_the_oldest_names_of_diffusers(truth, loads_as, tmp_path):
    name = "mid_block.attentions.0.transformer_blocks.0.attn2"
    state = truth.unet.state_dict()
    down, up = torch.randn(2, 16) * 0.2, torch.randn(16, 2) * 0.2
    tensors = {f"unet.{name}.processor.to_out_lora.down.weight": down, f"unet.{name}.processor.to_out_lora.up.weight": up}
    tensors |= {f"unet.{name}.processor.to_q_lora.down.weight": down * 2, f"unet.{name}.processor.to_q_lora.up.weight": up}
    text = "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora"
    tensors |= {f"{text}.down.weight": down * 3, f"{text}.up.weight": up}
    torch.save(tensors, tmp_path / "pytorch_lora_weights.bin")
    state[f"{name}.to_out.0.weight"] += up @ down
    state[f"{name}.to_q.weight"] += up @ (down * 2)
    truth.text_encoder.state_dict()["encoder.layers.0.self_attn.q_proj.weight"].add_(up @ (down * 3))
    notes = loads_as(tmp_path / "pytorch_lora_weights.bin", truth).proof["notes"]
    assert any("3 of 3 low-rank pairs state no alpha" in note for note in notes)


@pytest.mark.parametrize("by", ["output", "input"])
def test_lycoris_dora_by_either_axis(truth, loads_as, tmp_path, by):
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = truth.unet.state_dict()[f"{name}.weight"]
    tensors = writers.kohya({name: weight}, alpha=1.0)
    stem = "lora_unet_" + name.replace(".", "_")
    axis = 1 if by == "output" else 0
    magnitude = weight.norm(dim=axis, keepdim=True) * 1.3
    tensors[f"{stem}.dora_scale"] = magnitude.clone()
    changed = weight + tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * 0.5
    weight.copy_(magnitude / torch.linalg.vector_norm(changed, dim=axis, keepdim=True) * changed)
    save_file(tensors, tmp_path / "dora.safetensors")
    assert loads_as(tmp_path / "dora.safetensors", truth).proof["format"] == "DoRA (kohya names)"


def test_locon_with_a_core(truth, loads_as, tmp_path):
    name = "mid_block.resnets.0.conv1"
    weight = truth.unet.state_dict()[f"{name}.weight"]
    generator = torch.Generator().manual_seed(1)
    stem = "lora_unet_" + name.replace(".", "_")
    down = torch.randn(2, weight.shape[1], 1, 1, generator=generator)
    core = torch.randn(2, 2, 3, 3, generator=generator)
    up = torch.randn(weight.shape[0], 2, 1, 1, generator=generator)
    save_file(
        {
            f"{stem}.lora_down.weight": down,
            f"{stem}.lora_mid.weight": core,
            f"{stem}.lora_up.weight": up,
            f"{stem}.alpha": torch.tensor(2.0),
        },
        tmp_path / "locon.safetensors",
    )
    weight += torch.einsum("or,rskl,si->oikl", up.flatten(1), core, down.flatten(1))
    loads_as(tmp_path / "locon.safetensors", truth)


@pytest.mark.parametrize("lost", ["lora_down.weight", "lora_up.weight"])
def test_half_a_pair_is_refused(base_model, truth, tmp_path, lost):
    tensors = writers.kohya(writers.adapted_modules(truth.unet))
    first = next(name for name in tensors if name.endswith(lost))
    del tensors[first]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(LoadError, match="has no partner"):
        load_candidate(parse_reference(str(tmp_path / "half.safetensors")), base_model)


def test_a_lora_for_modules_that_the_base_lacks_is_refused_whole(base_model, truth, tmp_path):
    tensors = writers.kohya(writers.adapted_modules(truth.unet) | {"down_blocks.7.attentions.0.proj_in": torch.ones(4, 4)})
    save_file(tensors, tmp_path / "more.safetensors")
    with pytest.raises(LoadError, match=r"'lora_unet_down_blocks_7_attentions_0_proj_in\."):
        load_candidate(parse_reference(str(tmp_path / "more.safetensors")), base_model)


def test_other_adapters_are_refused_by_name(base_model, tmp_path):
    save_file({"lora_unet_conv_in.hada_w1_a": torch.ones(2, 2)}, tmp_path / "loha.safetensors")
    with pytest.raises(LoadError, match=r"hada_w1_a.*LoHa"):
        load_candidate(parse_reference(str(tmp_path / "loha.safetensors")), base_model)


@pytest.mark.parametrize("alpha", [torch.tensor(4), torch.tensor(0.0)])
def test_an_alpha_may_be_a_whole_number_and_0_means_the_rank(truth, loads_as, tmp_path, alpha):
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = truth.unet.state_dict()[f"{name}.weight"]
    tensors = writers.kohya({name: weight}, rank=2)
    stem = "lora_unet_" + name.replace(".", "_")
    save_file({**tensors, f"{stem}.alpha": alpha}, tmp_path / "lora.safetensors")
    weight += tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"] * (2.0 if alpha else 1.0)
    loads_as(tmp_path / "lora.safetensors", truth)


KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"


def _adapter(folder, tensors, **settings):
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 2, **settings}))
    return folder


def _two(truth):
    weight = truth.unet.state_dict()[f"{KEY}.weight"]
    generator = torch.Generator().manual_seed(6)
    down = torch.randn(2, weight.shape[1], generator=generator) * 0.2
    up = torch.randn(weight.shape[0], 2, generator=generator) * 0.2
    return weight, down, up


@pytest.mark.parametrize("pattern", [KEY, f"^{KEY}", "mid_block.*to_q", ".*attn2.to_q", "attn2.to_q", "to_(q|k)"])
def test_patterns_of_alpha_are_pefts(truth, loads_as, tmp_path, pattern):
    from peft.utils.other import get_pattern_key

    weight, down, up = _two(truth)
    alpha = 8 if get_pattern_key([pattern], KEY) == pattern else 2
    folder = _adapter(
        tmp_path / "adapter",
        {f"base_model.model.{KEY}.lora_A.weight": down, f"base_model.model.{KEY}.lora_B.weight": up},
        alpha_pattern={pattern: 8},
        base_model_name_or_path="owner/another",
    )
    weight += up @ down * (alpha / 2)
    notes = loads_as(folder, truth).proof["notes"]
    assert any("alpha is taken from adapter_config.json" in note for note in notes)
    assert "the file says that it was made from owner/another" in notes


@pytest.mark.parametrize(
    "settings",
    [
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa_niter_4"},
        {"init_lora_weights": "olora"},
        {"fan_in_fan_out": True},
        {"layer_replication": [[0, 1]]},
        {"alpha_pattern": {"(a+)+$": 1}},
        {"alpha_pattern": {"(": 1}},
    ],
)
def test_adapters_that_are_more_than_a_sum_with_the_base_are_refused(truth, base_model, tmp_path, settings):
    _, down, up = _two(truth)
    tensors = {f"base_model.model.{KEY}.lora_A.weight": down, f"base_model.model.{KEY}.lora_B.weight": up}
    with pytest.raises(LoadError, match="adapter"):
        load_candidate(parse_reference(str(_adapter(tmp_path / "adapter", tensors, **settings))), base_model)


def test_the_settings_of_another_adapter_in_the_same_folder_do_not_count(truth, loads_as, tmp_path):
    weight, down, up = _two(truth)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 64}))
    save_file({f"unet.{KEY}.lora_A.weight": down, f"unet.{KEY}.lora_B.weight": up}, tmp_path / "other.safetensors")
    weight += up @ down
    loads_as(tmp_path / "other.safetensors", truth)


@pytest.mark.parametrize(
    "second", [f"{KEY}.lora_A.weight", f"lora_unet_{KEY.replace('.', '_')}.lora_down.weight", f"unet.{KEY}.weight"]
)
def test_two_names_for_one_weight_are_refused(truth, base_model, tmp_path, second):
    weight, down, up = _two(truth)
    partner = second.replace("lora_A", "lora_B").replace("lora_down", "lora_up")
    tensors = {f"unet.{KEY}.lora_A.weight": down, f"unet.{KEY}.lora_B.weight": up}
    tensors |= {second: weight.clone()} if second.endswith(f"{KEY}.weight") else {second: down.clone(), partner: up.clone()}
    save_file(tensors, tmp_path / "twice.safetensors")
    with pytest.raises(LoadError, match="for the same weight"):
        load_candidate(parse_reference(str(tmp_path / "twice.safetensors")), base_model)


@pytest.mark.parametrize(("key", "shape"), [("dora_scale", (1, 8)), ("lora_magnitude_vector", (1, 16))])
def test_a_magnitude_along_the_wrong_axis_is_refused(truth, base_model, tmp_path, key, shape):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    stem = "lora_unet_" + name.replace(".", "_") if key == "dora_scale" else f"unet.{name}"
    pair = writers.kohya({name: truth.unet.state_dict()[f"{name}.weight"]})
    down, up, _ = pair.values()
    names = ("lora_down.weight", "lora_up.weight") if key == "dora_scale" else ("lora_A.weight", "lora_B.weight")
    save_file(
        {f"{stem}.{names[0]}": down, f"{stem}.{names[1]}": up, f"{stem}.{key}": torch.ones(shape)}, tmp_path / "dora.safetensors"
    )
    with pytest.raises(LoadError, match=rf"{key}' has another shape"):
        load_candidate(parse_reference(str(tmp_path / "dora.safetensors")), base_model)
