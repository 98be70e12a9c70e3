"""Candidates that no format covers: Python functions, folders of images, pipeline folders with code of their own."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference

HOOKS = """
import numpy as np
from diffusers import DDIMScheduler, UNet2DConditionModel

def doubled(pipeline):
    pipeline.unet.conv_in.bias += 1
    return pipeline

def hooked(pipeline):
    pipeline.unet.conv_in.register_forward_hook(lambda layer, inputs, output: output * 2)
    return pipeline

def service():
    return lambda prompts, seeds: [np.full((4, 6, 3), seed % 256, np.uint8) for seed in seeds]

def short():
    return lambda prompts, seeds: []

def of_floats():
    return lambda prompts, seeds: [np.zeros((4, 4, 3)) for _ in prompts]

def down():
    def draw(prompts, seeds):
        raise ConnectionError("the service is down")
    return draw

def nothing():
    return None

def asks(checkpoint):
    return None

def fails(pipeline):
    raise RuntimeError("no weights here")

def of_nan(pipeline):
    pipeline.unet.conv_in.bias += float("nan")
    return pipeline
"""


@pytest.fixture
def hook(tmp_path, monkeypatch):
    (tmp_path / "our_models.py").write_text(HOOKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "our_models", raising=False)
    return lambda name: parse_reference(f"our_models:{name}")


# Functions.


@pytest.mark.slow
def test_a_function_edits_a_pipeline_of_the_base(hook, base_model, base_folder):
    cheap_check(hook("doubled"), parse_reference(str(base_folder)))
    model = load_candidate(hook("doubled"), base_model)
    assert model.proof["changed_tensors"] == 1
    assert torch.equal(model.pipeline.unet.conv_in.bias, base_model.pipeline.unet.conv_in.bias + 1)


def test_a_function_that_changes_more_than_weights_has_a_digest_of_its_own(hook, base_model):
    model = load_candidate(hook("hooked"), base_model)
    assert model.weights_digest != base_model.weights_digest
    assert any("does not differ from its base" in warning for warning in model.proof["warnings"])
    assert any("does not show in its weights" in note for note in model.proof["notes"])


def test_a_service_draws_and_its_caveats_are_warnings(hook, base_model):
    model = load_candidate(hook("service"), base_model)
    assert model.pipeline is None
    drawn = model.image_source.sample(["a", "b"], [1, 300])
    assert [image.shape for image in drawn] == [(4, 6, 3), (4, 6, 3)]
    assert [int(image[0, 0, 0]) for image in drawn] == [1, 300 % 256]
    assert any("No weights were seen" in warning for warning in model.proof["warnings"])
    assert any("seeds" in warning for warning in model.proof["warnings"])


@pytest.mark.parametrize(
    ("name", "words"), [("short", "0 images for 1 prompts"), ("of_floats", "float64"), ("down", "the service is down")]
)
def test_a_service_that_gives_no_images_is_one_error(hook, base_model, name, words):
    image_source = load_candidate(hook(name), base_model).image_source
    with pytest.raises(LoadError, match=words):
        image_source.sample(["a"], [1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "gave a NoneType"),
        ("asks", "asks for 'checkpoint'"),
        ("fails", "no weights here"),
        ("of_nan", r"(?s)conv_in\.bias.*NaN"),
        ("absent", "no function 'absent'"),
        ("dubled", "did you mean doubled"),
    ],
)
def test_a_function_that_gives_no_model_is_one_error(hook, base_model, name, words):
    with pytest.raises(UsageError, match=words):
        load_candidate(hook(name), base_model)


def test_a_function_is_no_base(hook, base_folder):
    with pytest.raises(UsageError, match="is a Python function"):
        cheap_check(parse_reference(str(base_folder)), hook("doubled"))
    with pytest.raises(UsageError, match="no complete model"):
        load_pipeline(hook("doubled"))


# Images.


@pytest.fixture
def images(tmp_path):
    """Write images and their list; returns the reference."""

    def write(entries, name="images"):
        folder = tmp_path / name
        folder.mkdir()
        for number, entry in enumerate(entries):
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")
            entry.setdefault("file_name", f"{number}.png")
        (folder / "metadata.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return parse_reference(f"images:{folder}")

    return write


def test_images_belong_to_their_prompts_and_seeds(images, base_model):
    model = load_candidate(
        images([{"prompt": "a", "seed": 5}, {"prompt": "b", "seed": 5}, {"prompt": "a", "seed": 6}]), base_model
    )
    model.image_source.expect([("a", 6), ("b", 5)])
    assert [int(image[0, 0, 0]) for image in model.image_source.sample(["a", "b", "a"], [6, 5, 5])] == [2, 1, 0]
    assert model.proof["format"] == "3 images made elsewhere"
    assert any("Only the list says" in warning for warning in model.proof["warnings"])


def test_images_without_seeds_are_handed_out_in_order(images, base_model):
    model = load_candidate(images([{"text": "a"}, {"text": "b"}, {"text": "a"}]), base_model)
    model.image_source.expect([("a", 111), ("a", 222), ("b", 111)])
    assert [int(image[0, 0, 0]) for image in model.image_source.sample(["a", "a", "b"], [222, 111, 111])] == [2, 0, 1]
    assert any("share no noise" in warning for warning in model.proof["warnings"])


def test_missing_images_are_counted_before_anything_is_judged(images, base_model):
    image_source = load_candidate(images([{"prompt": "a", "seed": 5}]), base_model).image_source
    with pytest.raises(LoadError, match=r"(?s)lacks 3 images.*of 2 prompts.*2 are missing of 'a'"):
        image_source.expect([("a", 5), ("a", 6), ("a", 7), ("b", 5)])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"prompt": "a", "seed": 1}, {"prompt": "b"}], "seeds for some images"),
        ([{"prompt": "a", "seed": 1}, {"prompt": "a", "seed": 1}], "second image of prompt 'a'"),
        ([{"seed": 1}], "lists no image"),
        ([{"prompt": "a", "seed": "one"}], "lists no image"),
        ([{"prompt": "a", "seed": True}], "lists no image"),
        ([{"prompt": "a", "file_name": "gone.png"}], "no file 'gone.png'"),
        ([], "lists no images"),
    ],
)
def test_a_faulty_list_is_refused(images, base_model, entries, words):
    with pytest.raises(LoadError, match=words):
        load_candidate(images(entries), base_model)


def test_a_file_that_is_no_image_is_refused(images, base_model):
    reference = images([{"prompt": "a", "seed": 1}])
    (reference.path / "0.png").write_bytes(b"no image")
    image_source = load_candidate(reference, base_model).image_source
    with pytest.raises(LoadError, match=r"0\.png is no usable image"):
        image_source.sample(["a"], [1])


# Code of a folder's own.

OWN = """
from diffusers import StableDiffusionPipeline

class Mine(StableDiffusionPipeline):
    pass
"""


def test_a_pipeline_of_its_own_code_loads_with_trust_alone(base_folder, base_model, tmp_path):
    folder = shutil.copytree(base_folder, tmp_path / "own")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Mine"]}))
    (folder / "pipeline.py").write_text(OWN)
    reference = parse_reference(str(folder))
    for attempt in (lambda: cheap_check(reference, reference), lambda: load_candidate(reference, base_model)):
        with pytest.raises(LoadError, match=r"(?s)its own code: pipeline\.Mine.*--trust-remote-code"):
            attempt()
    cheap_check(reference, reference, trust_remote_code=True)
    model = load_candidate(reference, base_model, trust_remote_code=True)
    assert type(model.pipeline).__name__ == "Mine"
    assert model.proof["components"]["unet"]["matched"] == len(base_model.pipeline.unet.state_dict())
