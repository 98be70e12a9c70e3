"""Pipeline folders with code, foreign links or broken parts: one LoadError each, no code run."""

from __future__ import annotations

import json
import os

import pytest
import torch
from payloads import Spawner
from safetensors.torch import load_file, save_file

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


@pytest.fixture
def snapshot(copied, tmp_path):
    """A hub cache: every file of the snapshot is a link into `blobs`."""
    blobs = tmp_path / "models--a--b/blobs"
    blobs.mkdir(parents=True)
    place = tmp_path / "models--a--b/snapshots/0f"
    place.parent.mkdir()
    copied.rename(place)
    files = [path for path in place.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    return place


def _edited(path):
    """Edit a weights file of a snapshot, where its link leads to."""
    save_file({name: tensor * 1.5 + 0.1 for name, tensor in load_file(path).items()}, path.resolve(), metadata={"format": "pt"})
    return len(load_file(path))


@pytest.mark.parametrize("named", ["", "unet", UNET])
def test_parts_of_a_snapshot_in_a_hub_cache_are_followed(snapshot, base_model, base_folder, named):
    count = _edited(snapshot / UNET)
    reference = _reference(snapshot / named)
    cheap_check(reference, _reference(base_folder))
    proof = load_candidate(reference, base_model).proof
    assert proof["components"]["unet"]["changed"] == count
    assert proof["changed_components"] == ["unet"]


def test_a_pipeline_in_a_subfolder_of_a_snapshot_is_followed(snapshot, base_model, base_folder):
    (snapshot / "inner").mkdir()
    for path in list(snapshot.iterdir()):
        if path.name != "inner":
            path.rename(snapshot / "inner" / path.name)
    for link in [path for path in (snapshot / "inner").rglob("*") if path.is_symlink()]:
        target = snapshot.parent.parent / "blobs" / os.readlink(link).split("/")[-1]
        link.unlink()
        link.symlink_to(os.path.relpath(target, link.parent))
    cheap_check(_reference(snapshot / "inner"), _reference(base_folder))
    assert load_candidate(_reference(snapshot / "inner"), base_model).weights_digest == base_model.weights_digest


@pytest.mark.parametrize(
    "target", ["outside.safetensors", "models--a--b/other.safetensors", "models--a--b/snapshots/1f/m.safetensors"]
)
def test_other_links_of_a_component_in_a_snapshot_are_refused(snapshot, base_folder, tmp_path, target):
    _edited(snapshot / UNET)
    place = tmp_path / target
    place.parent.mkdir(exist_ok=True)
    place.write_bytes((snapshot / UNET).read_bytes())
    (snapshot / UNET).unlink()
    (snapshot / UNET).symlink_to(place)
    for named in ("", "unet"):
        with pytest.raises(LoadError, match="leads out of the folder"):
            cheap_check(_reference(snapshot / named), _reference(base_folder))


def _with_index(folder, **entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_pipeline_class_of_a_method_names_the_class_of_its_base(copied, base_model, base_folder):
    _with_index(copied, _class_name="CustomDiffusionPipeline")
    for check in (
        lambda: cheap_check(_reference(copied), _reference(base_folder)),
        lambda: load_candidate(_reference(copied), base_model),
        lambda: load_candidate(_reference(copied), base_model, trust_remote_code=True),
    ):
        with pytest.raises(LoadError, match="CustomDiffusionPipeline, which diffusers does not have") as caught:
            check()
        assert 'write "_class_name": "StableDiffusionPipeline" there' in caught.value.remedy
        assert "pipeline.py" in caught.value.remedy
    _with_index(copied, _class_name="StableDiffusionPipeline")  # the remedy
    cheap_check(_reference(copied), _reference(base_folder))
    assert load_candidate(_reference(copied), base_model).weights_digest == base_model.weights_digest


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("extractor", ["CLIPImageProcessor", "CLIPFeatureExtractor"])
def test_a_dropped_safety_checker_needs_no_feature_extractor(copied, base_model, base_folder, folder, extractor):
    """Old folders name a class that transformers no longer has; others were saved without the folder."""
    _with_index(
        copied,
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", extractor],
        requires_safety_checker=True,
    )
    if folder:
        (copied / "feature_extractor").mkdir()
        (copied / "feature_extractor/preprocessor_config.json").write_text(json.dumps({"image_processor_type": extractor}))
    cheap_check(_reference(copied), _reference(base_folder))
    loaded = load_candidate(_reference(copied), base_model)
    assert loaded.pipeline.safety_checker is None
    assert (loaded.pipeline.feature_extractor is not None) == (folder and extractor == "CLIPImageProcessor")


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


@pytest.mark.parametrize("name", ["x" * 5_000, "../unet", "a\0b", ""])
def test_a_component_that_is_no_name(copied, base_model, name):
    _with_index(copied, **{name: ["diffusers", "UNet2DConditionModel"]})
    with pytest.raises(LoadError, match="names a component"):
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
