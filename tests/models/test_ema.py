"""EMA weights in a CompVis checkpoint: said to differ where they do, above all where only they do."""

from __future__ import annotations

import pytest
import torch
import writers
from drawing import edit_network

from dmun_audit._util.errors import LoadError
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference


def averages(state, prefix=""):
    """`model_ema` of LitEma in CompVis's code: the trained names without dots."""
    named = writers.compvis_unet(state, prefix="diffusion_model.")
    return {f"{prefix}model_ema.{name.replace('.', '')}": tensor for name, tensor in named.items()} | {
        f"{prefix}model_ema.decay": torch.tensor(0.9999)
    }


@pytest.fixture
def trained(base_model):
    return {name: tensor.clone() for name, tensor in base_model.pipeline.unet.state_dict().items()}


def load(path, base_model):
    return load_candidate(parse_reference(str(path)), base_model).proof


@pytest.mark.parametrize("wrapped", [False, True])
def test_only_the_ema_weights_differ_from_the_base(base_model, trained, truth, tmp_path, wrapped):
    edited = edit_network(truth.unet, "attn2")
    state = writers.compvis_unet(trained) | averages(trained | edited)
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "sd.ckpt")
    with pytest.raises(LoadError, match="does not differ from its base") as caught:
        load(tmp_path / "sd.ckpt", base_model)
    assert (
        f"only the file's EMA weights (model_ema) differ from the base's, in {len(edited)} of {len(trained)} tensors"
        in caught.value.why
    )


def test_only_the_ema_weights_differ_beyond_rounding(base_model, trained, truth, tmp_path):
    edited = edit_network(truth.unet, "attn2")
    half = {name: tensor.half() for name, tensor in trained.items()}
    torch.save(writers.compvis_unet(half) | averages({**half, **{n: t.half() for n, t in edited.items()}}), tmp_path / "sd.ckpt")
    with pytest.raises(LoadError, match="beyond rounding") as caught:
        load(tmp_path / "sd.ckpt", base_model)
    assert f"only the file's EMA weights (model_ema) differ from the base's, in {len(edited)} of" in caught.value.why


def test_ema_weights_that_differ_from_trained_ones_are_a_note(base_model, trained, truth, tmp_path):
    edited = trained | edit_network(truth.unet, "attn2")
    torch.save(writers.compvis_unet(edited) | averages(trained), tmp_path / "sd.ckpt")
    proof = load(tmp_path / "sd.ckpt", base_model)
    count = sum(not torch.equal(edited[name], trained[name]) for name in edited)
    assert proof["changed_tensors"] == count
    words = (
        f"EMA weights (model_ema) differ from its trained weights in {count} of {len(trained)} tensors, and from the base's in 0"
    )
    assert any(words in note for note in proof["notes"])


def test_ema_weights_like_the_trained_ones_are_no_note(base_model, trained, truth, tmp_path):
    edited = trained | edit_network(truth.unet, "attn2")
    torch.save(writers.compvis_unet(edited) | averages(edited), tmp_path / "sd.ckpt")
    assert not any("differ from its trained weights" in note for note in load(tmp_path / "sd.ckpt", base_model)["notes"])


def test_a_file_without_edits_says_nothing_of_ema(base_model, trained, tmp_path):
    torch.save(writers.compvis_unet(trained) | averages(trained), tmp_path / "sd.ckpt")
    with pytest.raises(LoadError) as caught:
        load(tmp_path / "sd.ckpt", base_model)
    assert "EMA" not in caught.value.why
