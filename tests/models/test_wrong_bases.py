"""Weights over a base that they were not made from: refused where it shows, warned of where it may be."""

from __future__ import annotations

import json
import shutil

import families
import pytest
import torch
import writers
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return families.save_family("sdxl", tmp_path_factory.mktemp("families") / "sdxl")


@pytest.fixture
def refused(sdxl):
    """Have a file refused over the SDXL folder by the early check and by the load, with the same error."""

    def refuse(path):
        reference, base = parse_reference(str(path)), parse_reference(str(sdxl))
        messages = []
        for attempt in (lambda: cheap_check(reference, base), lambda: load_candidate(reference, base)):
            with pytest.raises(LoadError) as caught:
                attempt()
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        return messages[0]

    return refuse


def test_weights_of_sd_1_on_an_sdxl_folder(refused, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    message = refused(tmp_path / "uce.safetensors")
    assert "does not fit the base" in message
    assert "attn2.to_" in message
    assert "nothing was loaded" in message


def test_a_lora_of_sd_1_on_an_sdxl_folder(refused, base_model, tmp_path):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file(writers.kohya({name: base_model.pipeline.unet.state_dict()[f"{name}.weight"]}), tmp_path / "lora.safetensors")
    assert "does not fit the base" in refused(tmp_path / "lora.safetensors")


def test_a_pipeline_of_another_family_is_no_candidate(base_folder, sdxl):
    with pytest.raises(LoadError, match="not made from this base: the unet is another network"):
        load_candidate(parse_reference(str(base_folder)), parse_reference(str(sdxl)))


def _tokenizer(folder):
    return folder / "tokenizer/tokenizer.json"


def test_another_tokenizer_is_a_warning(base_model, copied):
    table = json.loads(_tokenizer(copied).read_text())
    vocabulary = table["model"]["vocab"]
    vocabulary["a</w>"], vocabulary["b</w>"] = vocabulary["b</w>"], vocabulary["a</w>"]
    _tokenizer(copied).write_text(json.dumps(table))
    proof = load_candidate(parse_reference(str(copied)), base_model).proof
    assert any("the tokenizer is not the base's" in warning for warning in proof["warnings"])


def test_a_tokenizer_with_more_words_than_the_text_encoder_is_refused(base_model, copied):
    table = json.loads(_tokenizer(copied).read_text())
    table["model"]["vocab"]["dd</w>"] = 99
    _tokenizer(copied).write_text(json.dumps(table))
    with pytest.raises(LoadError, match=r"100 words and its text encoder embeddings for"):
        load_candidate(parse_reference(str(copied)), base_model)


def test_a_network_that_computes_otherwise_is_a_warning(base_model, copied):
    config = json.loads((copied / "text_encoder/config.json").read_text())
    (copied / "text_encoder/config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    proof = load_candidate(parse_reference(str(copied)), base_model).proof
    assert any("hidden_act is 'gelu' and the base's 'quick_gelu'" in warning for warning in proof["warnings"])


def _slightly_off(state):
    generator = torch.Generator().manual_seed(1)
    sizes = {name: float(tensor.abs().mean()) or 1.0 for name, tensor in state.items()}
    return {name: tensor + 1e-3 * sizes[name] * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()}


@pytest.mark.parametrize("form", ["file", "folder"])
def test_another_ema_is_a_warning(base_model, copied, tmp_path, form):
    state = _slightly_off(base_model.pipeline.unet.state_dict())
    if form == "file":
        torch.save(writers.compvis_unet(state), tmp_path / "ema.ckpt")
        path = tmp_path / "ema.ckpt"
    else:
        save_file(state, copied / "unet/diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        path = copied
    proof = load_candidate(parse_reference(str(path)), base_model).proof
    assert any("looks like EMA weights" in warning for warning in proof["warnings"])


def test_a_file_that_leaves_little_to_the_base_looks_cut_short(base_model, tmp_path):
    state = _slightly_off(base_model.pipeline.unet.state_dict())
    for name in list(state)[:3]:
        del state[name]
    save_file(state, tmp_path / "most.safetensors")
    proof = load_candidate(parse_reference(str(tmp_path / "most.safetensors")), base_model).proof
    assert any(f"3 of {len(state) + 3} tensors of the unet are not in the file" in warning for warning in proof["warnings"])


def test_the_base_that_a_file_names_is_a_note(base_model, edit, tmp_path):
    save_file(edit, tmp_path / "esd.safetensors", metadata={"format": "erasing-esd-v2", "base_model_id": "owner/another"})
    notes = load_candidate(parse_reference(str(tmp_path / "esd.safetensors")), base_model).proof["notes"]
    assert "the file says that it was made from owner/another" in notes


def test_a_folder_is_not_loaded_twice_where_its_files_are_the_bases(base_folder, tmp_path, monkeypatch):
    """Components whose bytes are the base's are loaded once: an edited UNet does not cost a second text encoder."""
    from dmun_audit.models import folders

    opened = []
    real = folders._open_network
    monkeypatch.setattr(folders, "_open_network", lambda folder, *rest: opened.append(folder) or real(folder, *rest))
    copy = shutil.copytree(base_folder, tmp_path / "edited")
    path = copy / "unet/diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    proof = load_candidate(parse_reference(str(copy)), parse_reference(str(base_folder))).proof
    assert [folder.name for folder in opened].count("vae") == 1
    assert [folder.name for folder in opened].count("unet") == 2
    assert proof["changed_components"] == ["unet"]
    assert proof["components"]["vae"]["compared"] > 0
