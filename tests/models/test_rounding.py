"""Weights that differ from the base's by rounding to half precision alone are no edit; an edit stored in half precision is one."""

from __future__ import annotations

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
from dmun_audit.models.rounding import rounded_type

UNET = "unet/diffusion_pytorch_model.safetensors"
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
NAME = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def load(path, base, **settings):
    return load_candidate(parse_reference(str(path)), base, **settings)


def attention(network):
    return {name: tensor for name, tensor in network.state_dict().items() if "attn2" in name}


def halved(folder, component="unet", dtype=torch.bfloat16, factor=1.0):
    """Save a component of a folder in half precision."""
    path = next((folder / component).glob("*.safetensors"))
    save_file({name: (tensor * factor).to(dtype) for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("half", HALF)
@pytest.mark.parametrize("widened", [False, True])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_the_bases_weights_in_half_precision_is_refused(base_model, refused, tmp_path, half, widened, suffix):
    state = {name: tensor.to(HALF[half]) for name, tensor in attention(base_model.pipeline.unet).items()}
    state = {name: tensor.float() for name, tensor in state.items()} if widened else state
    path = tmp_path / f"nothing{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    message = refused(path, early=False)
    assert "does not differ from its base beyond rounding in any of" in message
    assert f"tensors of the unet differ from the base's only by rounding to {half}" in message


def test_a_text_encoder_in_half_precision_is_refused(base_model, refused, tmp_path):
    state = {f"text_encoder.{name}": tensor.half() for name, tensor in base_model.pipeline.text_encoder.state_dict().items()}
    save_file(state, tmp_path / "encoder.safetensors")
    message = refused(tmp_path / "encoder.safetensors", early=False)
    assert "of the text encoder differ from the base's only by rounding to float16" in message


@pytest.mark.parametrize("half", HALF)
def test_one_number_edited_in_half_precision_is_an_edit(base_model, tmp_path, half):
    """The smallest edit that the type can hold: one number moves to its neighbour."""
    state = {name: tensor.to(HALF[half]) for name, tensor in attention(base_model.pipeline.unet).items()}
    first = state[NAME].view(-1)[0]
    state[NAME].view(-1)[0] = torch.nextafter(first, torch.tensor(10.0, dtype=HALF[half]))
    save_file(state, tmp_path / "small.safetensors")
    proof = load(tmp_path / "small.safetensors", base_model).proof
    moved = sum(not torch.equal(tensor.float(), base_model.pipeline.unet.state_dict()[name]) for name, tensor in state.items())
    assert proof["changed_tensors"] == proof["components"]["unet"]["changed"] == 1
    assert proof["rounded_tensors"] == proof["components"]["unet"]["rounded"] == moved - 1 > 0
    assert any(f"{moved - 1} of" in note and f"only by rounding to {half}" in note for note in proof["notes"])


def test_an_edit_stored_in_half_precision_is_an_edit(base_model, edit, tmp_path):
    save_file({name: tensor.bfloat16() for name, tensor in edit.items()}, tmp_path / "esd.safetensors")
    proof = load(tmp_path / "esd.safetensors", base_model).proof
    assert (proof["changed_tensors"], proof["rounded_tensors"]) == (len(edit), 0)


def test_a_whole_folder_in_half_precision_is_a_warning(base_model, copied):
    for component in ("unet", "text_encoder", "vae"):
        halved(copied, component)
    proof = load(copied, base_model).proof
    assert proof["changed_tensors"] == 0
    assert proof["changed_components"] == []
    assert proof["rounded_tensors"] > 100
    assert "does not differ from its base beyond rounding" in proof["warnings"][-1]
    assert not any("EMA" in warning for warning in proof["warnings"])


def test_a_pipeline_in_memory_in_half_precision_is_a_warning(base_model, truth):
    from dmun_audit.models.in_memory import in_memory_model

    proof = load_candidate(in_memory_model(truth.to(torch.bfloat16)), base_model).proof
    assert (proof["changed_tensors"], proof["rounded_tensors"] > 100) == (0, True)
    assert "beyond rounding" in proof["warnings"][-1]


def test_an_edited_unet_in_a_folder_in_half_precision(base_model, copied):
    halved(copied, "unet", factor=1.5)
    halved(copied, "vae")
    proof = load(copied, base_model).proof
    assert proof["changed_components"] == ["unet"]
    assert proof["components"]["vae"]["rounded"] > 0
    assert proof["components"]["unet"]["rounded"] == 0


def test_a_base_in_half_precision_under_the_weights_it_was_rounded_from(base_folder, base_model, copied):
    """The base was saved in bfloat16 and is loaded in float32; the candidate holds the numbers before rounding."""
    halved(copied)
    base = load_pipeline(parse_reference(str(copied)))
    with pytest.raises(LoadError, match="beyond rounding"):
        load(base_folder / UNET, base)
    proof = load(base_folder, base).proof
    assert (proof["changed_tensors"], proof["components"]["unet"]["rounded"] > 100) == (0, True)


def test_an_edit_over_a_base_in_half_precision_is_an_edit(base_model, copied, tmp_path):
    """Even where every number still rounds to the base's: rounding would change numbers more than this edit does."""
    halved(copied)
    base = load_pipeline(parse_reference(str(copied)))
    state = attention(base.pipeline.unet)
    save_file({NAME: state[NAME] * (1 + 2**-11)}, tmp_path / "small.safetensors")
    assert load(tmp_path / "small.safetensors", base).proof["changed_tensors"] == 1


@pytest.mark.parametrize(
    ("half", "dtype"),
    [("bfloat16", "float32"), ("float16", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float16"), ("float16", "float16")],
)
def test_in_every_type_of_the_policy(base_folder, base_model, tmp_path, half, dtype):
    """The audit may load both models in half precision; then numbers that are rounded twice may go either way."""
    save_file(
        {name: tensor.to(HALF[half]) for name, tensor in attention(base_model.pipeline.unet).items()}, tmp_path / "n.safetensors"
    )
    with pytest.raises(LoadError, match="does not differ from its base"):
        load(tmp_path / "n.safetensors", parse_reference(str(base_folder)), dtype=dtype)


def test_numbers_that_are_rounded():
    generator = torch.Generator().manual_seed(3)
    exact = torch.randn(10_000, generator=generator)
    for (name, half), twice in itertools.product(HALF.items(), HALF.values()):
        assert rounded_type(exact.to(half).float(), exact) == name
        last = next(key for key, value in HALF.items() if value == twice)
        assert rounded_type((exact * 1e-4).to(half).to(twice).float(), exact * 1e-4) in {name, last}
        assert rounded_type(exact, exact.to(half).float()) == ""
        assert rounded_type(exact.to(half).to(twice).float() * 1.01, exact) == ""
    late = exact.bfloat16().float()
    late[-1] *= 1.01
    assert rounded_type(late, exact) == ""
    assert rounded_type(torch.arange(3), torch.arange(3) + 1) == ""
