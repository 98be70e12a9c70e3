"""State dicts of UNets, text encoders and whole models: the same images as the weights that they were made from."""

from __future__ import annotations

import pytest
import torch
import writers
from drawing import edit_network
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow

# State dicts of a UNet.

WRITTEN = {
    "diffusers": lambda state: state,
    "diffusers, prefixed": lambda state: {f"unet.{name}": tensor for name, tensor in state.items()},
    "diffusers in a dictionary (Concept Ablation)": lambda state: {"unet": state},
    "diffusers by module (ESD's demonstration)": lambda state: {
        f"unet.{module}": {name.rpartition(".")[2]: tensor for name, tensor in state.items() if name.rpartition(".")[0] == module}
        for module in {name.rpartition(".")[0] for name in state}
    },
    "diffusers, wrapped": lambda state: {"state_dict": state, "epoch": 3},
    "diffusers below model": lambda state: {"model": state, "step": torch.tensor(3)},
    "CompVis": lambda state: writers.compvis_unet(state),
    "CompVis, bare": lambda state: writers.compvis_unet(state, prefix=""),
    "CompVis, wrapped": lambda state: {"state_dict": writers.compvis_unet(state), "global_step": 5, "optimizer_states": [{}]},
    "CompVis with EMA and schedule": lambda state: (
        writers.compvis_unet(state)
        | {f"model_ema.{name.replace('.', '')}": torch.zeros_like(tensor) for name, tensor in state.items()}
        | {"betas": torch.zeros(4), "alphas_cumprod": torch.zeros(4), "model_ema.decay": torch.tensor(0.9)}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("extent", ["partial", "full"])
@pytest.mark.parametrize("written", WRITTEN)
def test_the_state_dict_of_a_unet(truth, loads_as, tmp_path, written, extent):
    state = edit_network(truth.unet, "attn2.to_" if extent == "partial" else "")
    torch.save(WRITTEN[written](state), tmp_path / "edited.pt")
    proof = loads_as(tmp_path / "edited.pt", truth).proof
    total = len(truth.unet.state_dict())
    assert proof["components"]["unet"]["matched"] == proof["components"]["unet"]["changed"] == len(state)
    assert proof["components"]["unet"]["missing"] == total - len(state)
    assert proof["format"].startswith(f"{extent} unet")
    assert ("CompVis" in proof["format"]) is written.startswith("CompVis")
    assert any("EMA" in note for note in proof["notes"]) is ("EMA" in written)


@pytest.mark.parametrize("older", [False, True])
def test_safetensors_of_either_naming(truth, loads_as, tmp_path, older):
    state = edit_network(truth.unet, "attn2.to_k")
    save_file(writers.compvis_unet(state) if older else state, tmp_path / "esd")
    loads_as(tmp_path / "esd", truth)


def test_a_unet_folder(truth, loads_as, tmp_path):
    edit_network(truth.unet)
    truth.unet.save_pretrained(tmp_path / "rece")
    assert "full unet" in loads_as(tmp_path / "rece", truth).proof["format"]


def test_the_shards_of_a_unet_folder(truth, loads_as, tmp_path):
    edit_network(truth.unet)
    truth.unet.save_pretrained(tmp_path / "rece", max_shard_size="30KB")
    assert len(list((tmp_path / "rece").glob("*.safetensors"))) > 1
    loads_as(tmp_path / "rece", truth)


# Text encoders.

ADV_UNLEARN = {
    "flat": lambda state: state,
    "with transformers' older prefix": lambda state: {f"text_model.{name}": tensor for name, tensor in state.items()},
    "prefixed": lambda state: {f"text_encoder.{name}": tensor for name, tensor in state.items()},
    "wrapper that holds its parts twice": lambda state: (
        {f"text_encoder.text_model.{name}": tensor for name, tensor in state.items()}
        | {name.replace("embeddings.", "embedding."): tensor for name, tensor in state.items()}
        | {"text_encoder.text_model.embeddings.position_ids": torch.arange(8)[None]}
    ),
    "in a dictionary": lambda state: {"text_encoder": state},
}


@pytest.mark.parametrize("written", ADV_UNLEARN)
def test_a_text_encoder_alone(truth, loads_as, tmp_path, written):
    state = edit_network(truth.text_encoder)
    torch.save(ADV_UNLEARN[written](state), tmp_path / "TextEncoder.pt")
    proof = loads_as(tmp_path / "TextEncoder.pt", truth).proof
    assert proof["changed_components"] == ["text_encoder"]
    assert proof["components"]["text_encoder"]["missing"] == 0


def test_a_text_encoder_folder(truth, loads_as, tmp_path):
    edit_network(truth.text_encoder)
    truth.text_encoder.save_pretrained(tmp_path / "vangogh_unlearned")
    loads_as(tmp_path / "vangogh_unlearned", truth)


def test_twins_that_differ_are_refused(base_model, truth, tmp_path):
    state = edit_network(truth.text_encoder)
    torch.save({**state, **{f"text_encoder.{name}": tensor + 1 for name, tensor in state.items()}}, tmp_path / "odd.pt")
    with pytest.raises(LoadError, match="for the same place and differ"):
        load_candidate(parse_reference(str(tmp_path / "odd.pt")), base_model)


def test_a_delta_of_unet_and_text_encoder(truth, loads_as, tmp_path):
    unet, text = edit_network(truth.unet, "attn2.to_v"), edit_network(truth.text_encoder)
    torch.save({"unet": unet, "text_encoder": text}, tmp_path / "delta.bin")
    assert loads_as(tmp_path / "delta.bin", truth).proof["changed_components"] == ["text_encoder", "unet"]


def test_a_compvis_delta_with_embeddings_of_new_words_says_that_no_prompt_reaches_them(truth, loads_as, tmp_path):
    state = writers.compvis_unet(edit_network(truth.unet, "attn2.to_k"))
    torch.save({"state_dict": {**state, "embed": torch.ones(1, 16)}}, tmp_path / "delta_epoch=9.ckpt")
    notes = loads_as(tmp_path / "delta_epoch=9.ckpt", truth).proof["notes"]
    assert any("'state_dict.embed'" in note and "no prompt can use them" in note for note in notes)


# Single files.


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_single_file_of_everything(truth, loads_as, tmp_path, wrapped):
    parts = [
        writers.compvis_unet(edit_network(truth.unet)),
        writers.compvis_vae(edit_network(truth.vae)),
        writers.compvis_text(edit_network(truth.text_encoder)),
        {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(8)[None]},
    ]
    whole = {name: tensor for part in parts for name, tensor in part.items()}
    torch.save({"state_dict": whole, "epoch": 1} if wrapped else whole, tmp_path / "model.ckpt")
    proof = loads_as(tmp_path / "model.ckpt", truth).proof
    assert proof["missing"] == 0
    assert proof["matched"] == len(whole) - 1
    assert sorted(proof["components"]) == ["text_encoder", "unet", "vae"]


def test_the_writer_of_compvis_names_writes_what_diffusers_reads(truth):
    """The library's own converter for complete files, as a second reader of what is written here."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    unet, vae = edit_network(truth.unet), edit_network(truth.vae)
    theirs = convert_ldm_unet_checkpoint(writers.compvis_unet(unet), dict(truth.unet.config))
    assert theirs.keys() == unet.keys()
    assert all(torch.equal(theirs[name], unet[name]) for name in unet)
    theirs = convert_ldm_vae_checkpoint(writers.compvis_vae(vae), dict(truth.vae.config))
    assert theirs.keys() == vae.keys()
    assert all(torch.equal(theirs[name].reshape(vae[name].shape), vae[name]) for name in vae)


def test_a_text_encoder_of_open_clip(truth, loads_as, tmp_path):
    state = edit_network(truth.text_encoder)
    written = writers.open_clip_text(state)
    beyond = {name.replace("resblocks.0.", "resblocks.1."): tensor for name, tensor in written.items() if "resblocks" in name}
    extra = {"cond_stage_model.model.text_projection": torch.ones(16, 16), "cond_stage_model.model.logit_scale": torch.ones(())}
    torch.save(written | beyond | extra, tmp_path / "v2.ckpt")
    proof = loads_as(tmp_path / "v2.ckpt", truth).proof
    assert proof["missing"] == 0
    assert any("layers that the base's text_encoder does not use" in note for note in proof["notes"])


# Prefixes of training code.

PREFIXES = ["pipe.unet.", "pipeline.unet.", "unet.module.", "unet._orig_mod.", "module.unet._orig_mod.", "unet.module._orig_mod."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_a_unet(truth, loads_as, tmp_path, prefix):
    edited = edit_network(truth.unet)
    save_file({f"{prefix}{name}": tensor for name, tensor in edited.items()}, tmp_path / "unet.safetensors")
    assert "full unet (safetensors, diffusers names, wrapped)" in loads_as(tmp_path / "unet.safetensors", truth).proof["format"]


@pytest.mark.parametrize("prefix", ["pipe.{}.", "{}.module.", "{}._orig_mod."])
def test_prefixes_of_other_components(truth, loads_as, tmp_path, prefix):
    state = {}
    for component, network in (("text_encoder", truth.text_encoder), ("vae", truth.vae)):
        start = prefix.format(component) + ("text_model." if component == "text_encoder" else "")
        state |= {f"{start}{name}": tensor for name, tensor in edit_network(network).items()}
    save_file(state, tmp_path / "both.safetensors")
    assert loads_as(tmp_path / "both.safetensors", truth).proof["changed_components"] == ["text_encoder", "vae"]


def test_a_delta_of_a_wrapped_unet(truth, loads_as, tmp_path):
    edited = edit_network(truth.unet, "attn2")
    torch.save({"unet": {f"module.{name}": tensor for name, tensor in edited.items()}}, tmp_path / "delta.bin")
    loads_as(tmp_path / "delta.bin", truth)
