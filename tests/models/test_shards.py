"""Series of shards: a missing, foreign or single shard is refused by name, by the check before torch and by the loading."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

STEM = "diffusion_pytorch_model"
INDEX = f"{STEM}.safetensors.index.json"


@pytest.fixture
def series(truth, tmp_path):
    """The folder of an edited UNet in several shards with their index."""
    with torch.no_grad():
        for tensor in truth.unet.parameters():
            tensor.mul_(1.5)
    truth.unet.save_pretrained(tmp_path / "unet", max_shard_size="30KB")
    return tmp_path / "unet"


def shards(folder):
    return sorted(folder.glob("*-of-*"))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_missing_shard_is_named(series, refused, index, number):
    missing = shards(series)[number]
    missing.unlink()
    if not index:
        (series / INDEX).unlink()
    assert refused(series).count(f"lacks {missing.name}") == 2


def test_a_complete_series_without_its_index_is_loaded(series, truth, loads_as):
    (series / INDEX).unlink()
    loads_as(series, truth)


def test_a_shard_named_directly_is_refused(series, refused):
    first, second = shards(series)[:2]
    message = refused(first)
    assert "is one shard of a series" in message
    assert f"name the folder with the whole series, {series}" in message
    second.unlink()
    assert f"lacks {second.name}" in refused(first)


def test_the_index_named_directly_points_to_its_folder(series, refused):
    assert f"name its folder, {series}" in refused(series / INDEX)


@pytest.mark.parametrize("other", ["model-00002-of-00002.safetensors", f"{STEM}-00001-of-00099.safetensors"])
def test_shards_of_two_series(series, refused, other):
    save_file({"conv_in.bias": torch.ones(8)}, series / other)
    message = refused(series)
    assert "holds shards of two series" in message
    assert other in message


def test_a_shard_beside_a_whole_file(series, refused):
    save_file({"conv_in.bias": torch.ones(8)}, series / f"{STEM}.safetensors")
    assert f"beside the whole file {STEM}.safetensors" in refused(series)


def test_a_missing_pickle_shard(edit, refused, tmp_path):
    (tmp_path / "unet").mkdir()
    torch.save(edit, tmp_path / "unet/pytorch_model-00002-of-00002.bin")
    assert "lacks pytorch_model-00001-of-00002.bin" in refused(tmp_path / "unet")
    assert "lacks pytorch_model-00001-of-00002.bin" in refused(tmp_path / "unet/pytorch_model-00002-of-00002.bin")


def test_one_shard_of_one_is_whole(edit, base_model, tmp_path):
    save_file(edit, tmp_path / "model-00001-of-00001.safetensors")
    reference = parse_reference(str(tmp_path / "model-00001-of-00001.safetensors"))
    assert load_candidate(reference, base_model).proof["changed_tensors"] == len(edit)


def test_an_index_that_names_an_absent_file(edit, refused, tmp_path):
    folder = tmp_path / "unet"
    folder.mkdir()
    save_file(edit, folder / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"conv_in.bias": "other.safetensors"}}))
    message = refused(folder)
    assert "lacks other.safetensors" in message
    assert "model.safetensors.index.json names what is not there" in message


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../b"}}'])
def test_an_index_that_is_none(edit, refused, tmp_path, text):
    folder = tmp_path / "unet"
    folder.mkdir()
    save_file(edit, folder / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    assert "is no index of shards" in refused(folder)


def test_an_index_of_files_that_are_not_loaded_is_left_alone(edit, base_model, base_folder, tmp_path):
    """A download of safetensors alone leaves the index of the pickles, and one of a variant the index of the plain files."""
    folder = tmp_path / "unet"
    folder.mkdir()
    save_file(edit, folder / "model.safetensors")
    for name in ("pytorch_model.bin.index.json", "model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"):
        (folder / name).write_text(json.dumps({"weight_map": {"conv_in.bias": "absent"}}))
    cheap_check(parse_reference(str(folder)), parse_reference(str(base_folder)))
    assert load_candidate(parse_reference(str(folder)), base_model).proof["changed_tensors"] == len(edit)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("variant", ["", "fp16"])
def test_a_component_of_a_pipeline_that_lacks_a_shard(copied, truth, base_model, base_folder, index, variant):
    shutil.rmtree(copied / "unet")
    truth.unet.save_pretrained(copied / "unet", max_shard_size="30KB", variant=variant or None)
    assert load_candidate(parse_reference(str(copied)), base_model).proof["changed_tensors"] == 0
    missing = shards(copied / "unet")[1]
    missing.unlink()
    if not index:
        next((copied / "unet").glob("*.index*.json")).unlink()
    for check in (
        lambda: cheap_check(parse_reference(str(copied)), parse_reference(str(base_folder))),
        lambda: cheap_check(parse_reference(str(base_folder)), parse_reference(str(copied))),
        lambda: load_candidate(parse_reference(str(copied)), base_model),
    ):
        with pytest.raises(LoadError, match=f"unet lacks {missing.name}"):
            check()


def test_a_pickled_text_encoder_of_a_pipeline_that_lacks_a_shard(copied, base_folder):
    weights = copied / "text_encoder/model.safetensors"
    torch.save(load_file(weights), copied / "text_encoder/pytorch_model-00001-of-00002.bin")
    weights.unlink()
    with pytest.raises(LoadError, match=r"lacks pytorch_model-00002-of-00002\.bin"):
        cheap_check(parse_reference(str(copied)), parse_reference(str(base_folder)))


def test_a_missing_shard_is_named_without_torch(series, base_folder):
    missing = shards(series)[0]
    missing.unlink()
    script = (
        "import sys\n"
        "from dmun_audit._util.errors import LoadError\n"
        "from dmun_audit.models.headers import cheap_check\n"
        "from dmun_audit.models.references import parse_reference\n"
        "base, model = map(parse_reference, sys.argv[1:])\n"
        "try: cheap_check(model, base)\n"
        "except LoadError as error: print(error.what)\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(base_folder), str(series)]
    assert f"lacks {missing.name}" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
