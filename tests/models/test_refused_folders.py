"""Pipeline folders with code, foreign links or broken parts: one LoadError each, no code run."""

from __future__ import annotations

import json

import pytest
import torch
from payloads import Spawner

from dmun_audit._util.errors import LoadError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

NAME = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
UNET = "unet/diffusion_pytorch_model.safetensors"


def _reference(path):
    return parse_reference(str(path))


# Folders.


def test_a_link_out_of_the_folder_is_refused(copied, base_model, tmp_path):
    (tmp_path / "elsewhere.safetensors").write_bytes((copied / UNET).read_bytes())
    (copied / UNET).unlink()
    (copied / UNET).symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(LoadError, match=r"(?s)leads out of the folder.*elsewhere"):
        load_candidate(_reference(copied), base_model)


def test_links_of_a_hub_cache_are_followed(copied, base_model, tmp_path):
    snapshot = tmp_path / "models--a--b/snapshots/0f"
    (tmp_path / "models--a--b/blobs").mkdir(parents=True)
    snapshot.parent.mkdir()
    copied.rename(snapshot)
    blob = tmp_path / "models--a--b/blobs/123"
    (snapshot / UNET).rename(blob)
    (snapshot / UNET).symlink_to("../../../blobs/123")
    assert load_candidate(_reference(snapshot), base_model).weights_digest == base_model.weights_digest
    (snapshot / UNET).unlink()
    (snapshot / UNET).symlink_to(tmp_path / "models--a--b/123")
    with pytest.raises(LoadError, match="leads out"):
        load_candidate(_reference(snapshot), base_model)


def test_a_truncated_folder_names_its_file(copied, base_model, base_folder):
    (copied / UNET).write_bytes((copied / UNET).read_bytes()[:-1])
    for check in (
        lambda: cheap_check(_reference(copied), _reference(base_folder)),
        lambda: load_candidate(_reference(copied), base_model),
    ):
        with pytest.raises(LoadError, match=r"diffusion_pytorch_model\.safetensors"):
            check()


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": ["mine", "Pipeline"]}', '{"_class_name": "Nothing"}'])
def test_an_index_that_names_no_pipeline(copied, base_model, index):
    (copied / "model_index.json").write_text(index)
    with pytest.raises(LoadError, match="copy"):
        load_candidate(_reference(copied), base_model)


def test_code_beside_the_weights_is_refused(copied, base_model):
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"unet": ["my_unet", "MyUNet"]}))
    (copied / "unet/my_unet.py").write_text("raise SystemExit('ran')")
    with pytest.raises(LoadError, match="'my_unet'"):
        load_candidate(_reference(copied), base_model)


def test_code_in_a_component_of_a_folder_does_not_run(copied, base_model, base_folder, tmp_path):
    marker = tmp_path / "ran"
    (copied / UNET).unlink()
    torch.save({"x": Spawner(marker)}, copied / "unet/diffusion_pytorch_model.bin")
    for check in (
        lambda: cheap_check(_reference(copied), _reference(base_folder)),
        lambda: load_candidate(_reference(copied), base_model),
    ):
        with pytest.raises(LoadError, match=r"diffusion_pytorch_model\.bin was not opened"):
            check()
    assert not marker.exists()
