"""A complete checkpoint in one file is no base; the error names the command that makes one of it, and the command works."""

from __future__ import annotations

import re

import pytest
import torch
import writers
from safetensors.torch import save_file

from dmun_audit._util.errors import UsageError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference
from dmun_audit.models.single_file import FOLDER


@pytest.fixture
def checkpoint(base_model):
    parts = (
        writers.compvis_unet(base_model.pipeline.unet.state_dict()),
        writers.compvis_vae(base_model.pipeline.vae.state_dict()),
        writers.compvis_text(base_model.pipeline.text_encoder.state_dict()),
    )
    return {name: tensor.clone().contiguous() for part in parts for name, tensor in part.items()}


def remedy(path):
    with pytest.raises(UsageError, match="is weights to lay over a base") as caught:
        cheap_check(parse_reference("atelier:noop"), parse_reference(str(path)))
    return caught.value.remedy


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_the_command_of_the_error_makes_a_base(checkpoint, base_model, base_folder, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"sd15{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(checkpoint, path)
    told = remedy(path)
    assert ("; it is a complete checkpoint: " if suffix == ".safetensors" else "; if it is a complete checkpoint: ") in told
    code = re.search(r'python -c "(.+?)" and name sd15,', told)[1]
    monkeypatch.chdir(tmp_path)
    exec(code.replace("FOLDER", str(base_folder)), {})
    proof = load_candidate(parse_reference(str(tmp_path / "sd15")), base_model).proof
    assert proof["changed_tensors"] == proof["rounded_tensors"] == 0
    assert proof["compared_tensors"] == sum(counts["matched"] for counts in proof["components"].values()) > 200


def test_the_command_for_sdxl_names_its_class(checkpoint, tmp_path):
    save_file({**checkpoint, "conditioner.embedders.1.model.ln_final.bias": torch.ones(1)}, tmp_path / "xl.safetensors")
    assert "from diffusers import StableDiffusionXLPipeline as P" in remedy(tmp_path / "xl.safetensors")


def test_part_of_a_model_gets_no_command(checkpoint, tmp_path):
    save_file({name: tensor for name, tensor in checkpoint.items() if "diffusion_model" in name}, tmp_path / "unet.safetensors")
    assert remedy(tmp_path / "unet.safetensors") == FOLDER
