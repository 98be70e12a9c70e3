"""Weights that do not fit their base, or are of no format: one LoadError each, nothing loaded, before torch where it can be."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow

NAME = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
UNET = "unet/diffusion_pytorch_model.safetensors"


def _reference(path):
    return parse_reference(str(path))


# Names and shapes.


def test_keys_that_match_nothing(refused, tmp_path, edit):
    path = tmp_path / "odd.safetensors"
    save_file({name.replace("attn2", "attn9"): tensor for name, tensor in edit.items()}, path)
    message = refused(path)
    assert f"{NAME.replace('attn2', 'attn9')!r}" in message
    assert "(closest: 'down_blocks.0." in message
    assert f"{len(edit)} of its {len(edit)} tensors" in message


def test_one_key_too_many(refused, tmp_path, edit):
    save_file({**edit, "conv_inn.bias": torch.ones(8)}, tmp_path / "odd.safetensors")
    assert "'conv_inn.bias' (closest: 'conv_in.bias')" in refused(tmp_path / "odd.safetensors")


def test_names_of_no_known_format(refused, tmp_path):
    save_file({"x.y": torch.ones(1)}, tmp_path / "odd.safetensors")
    assert "'x.y'" in refused(tmp_path / "odd.safetensors")


def test_another_shape(refused, tmp_path, edit):
    save_file({**edit, NAME: torch.ones(3, 5)}, tmp_path / "odd.safetensors")
    message = refused(tmp_path / "odd.safetensors")
    assert NAME in message
    assert "[3, 5]" in message
    assert str(list(edit[NAME].shape)) in message


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_no_number(refused, tmp_path, edit, number):
    save_file({**edit, NAME: torch.full_like(edit[NAME], number)}, tmp_path / "odd.safetensors")
    assert NAME in refused(tmp_path / "odd.safetensors", early=False)


def test_numbers_too_large_for_the_type_they_are_loaded_in(base_folder, tmp_path, edit):
    save_file({**edit, NAME: torch.full_like(edit[NAME], 1e5)}, tmp_path / "odd.safetensors")
    with pytest.raises(LoadError, match="infinite"):
        load_candidate(_reference(tmp_path / "odd.safetensors"), _reference(base_folder), dtype="float16")


def test_quantised_weights(refused, tmp_path, edit):
    save_file({**edit, NAME: edit[NAME].to(torch.int8)}, tmp_path / "odd.safetensors")
    assert f"{NAME!r} is of type I8" in refused(tmp_path / "odd.safetensors", early=False)


# Other formats.


@pytest.mark.parametrize(
    ("name", "metadata", "words"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", {}, "weights in CompVis names"),
        ("lora_unet_down_blocks_0_attn2_to_k.lora_down.weight", {}, "a LoRA"),
        ("unet.down_blocks.0.attn2.to_k.lora_A.weight", {}, "a LoRA"),
        ("unet.down_blocks.0.attn2.to_k.lora.up.weight", {}, "a LoRA"),
        ("lora_unet_down_blocks_0_attn2_to_k.lora_down.weight", {"prompts": "van gogh"}, "an SPM"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", {}, "text_encoder"),
        ("text_encoder.text_model.final_layer_norm.bias", {}, "text_encoder"),
        ("embeddings.token_embedding.weight", {}, "text_encoder"),
        ("unet.conv_in.weight", {}, "unet"),
        ("decoder.conv_in.weight", {}, "vae"),
        ("transformer_blocks.0.attn.to_k.weight", {}, "weights in diffusers names"),
        ("down_blocks.0.attentions.0.down.weight", {}, "Receler"),
        ("<van-gogh>", {}, "a textual inversion"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_format(refused, tmp_path, name, metadata, words):
    save_file({name: torch.ones(2)}, tmp_path / "other.safetensors", metadata=metadata)
    message = refused(tmp_path / "other.safetensors")
    assert message.count(words) >= 2
    assert message.count(repr(name)) >= 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"unet": {NAME: torch.ones(1)}}, f"tensor 'unet.{NAME}' has another shape"),
        ({"state_dict": {"model.diffusion_model.out.2.bias": torch.ones(1)}}, "weights in CompVis names"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({}, "no tensors"),
        ({"epoch": 3, "state_dict": {}}, "no tensors"),
    ],
)
def test_pickles_of_other_content_are_refused(refused, tmp_path, content, words):
    torch.save(content, tmp_path / "other.pt")
    assert words in refused(tmp_path / "other.pt", early=False)


def test_the_content_decides_and_not_the_suffix(base_model, tmp_path, edit):
    save_file(edit, tmp_path / "a.bin")
    torch.save(edit, tmp_path / "b.safetensors")
    loaded = [load_candidate(_reference(tmp_path / name), base_model) for name in ("a.bin", "b.safetensors")]
    assert [model.proof["format"] for model in loaded] == [
        f"partial unet ({container}, diffusers names)" for container in ("safetensors", "state dict")
    ]
    assert loaded[0].weights_digest == loaded[1].weights_digest


# Before torch.


def test_a_base_is_a_complete_model(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    with pytest.raises(UsageError, match="complete model"):
        cheap_check(_reference(base_folder), _reference(tmp_path / "uce.safetensors"))


def test_good_files_pass_the_early_check(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    torch.save(edit, tmp_path / "uce.pt")
    torch.save({name: torch.nn.Parameter(tensor.bfloat16()) for name, tensor in edit.items()}, tmp_path / "parameters.pt")
    torch.save(edit, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("uce.safetensors", "uce.pt", "parameters.pt", "old.ckpt"):
        cheap_check(_reference(tmp_path / name), _reference(base_folder))
    cheap_check(_reference(tmp_path / "uce.safetensors"), parse_reference("owner/name"))
    assert load_file(tmp_path / "uce.safetensors").keys() == edit.keys()


def test_a_header_length_that_looks_like_a_pickle_is_read_as_safetensors(tmp_path, base_model, edit):
    path = tmp_path / "padded.safetensors"
    save_file(edit, path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    padded = length + (0x80 - length) % 256
    path.write_bytes(padded.to_bytes(8, "little") + raw[8 : 8 + length] + b" " * (padded - length) + raw[8 + length :])
    assert path.read_bytes()[0] == 0x80
    assert load_candidate(_reference(path), base_model).proof["matched"] == len(edit)


def test_the_early_check_imports_no_torch(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    script = (
        "import sys; from dmun_audit.models.headers import cheap_check; from dmun_audit.models.references import parse_reference\n"
        "from dmun_audit.models.source_files import source_digest\n"
        "base, model = map(parse_reference, sys.argv[1:])\n"
        "cheap_check(model, base); source_digest(model)\n"
        "assert not {'torch', 'diffusers', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(base_folder), str(tmp_path / "uce.safetensors")], check=True)
