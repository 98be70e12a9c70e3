"""Everything that decides an image besides prompt and seed changes the digest of the weights, so no stored image is stale."""

from __future__ import annotations

import json
import os

import families
import pytest
import torch
from safetensors.torch import save_file

from dmun_audit.models.external_images import session_id
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow


def loaded(path, base, **settings):
    return load_candidate(parse_reference(str(path)), base, **settings)


def test_the_word_of_a_textual_inversion(base_model, tmp_path):
    vector = torch.ones(16)
    digests = set()
    for word in ("<gogh>", "<monet>"):
        save_file({word: vector}, tmp_path / f"{word}.safetensors")
        digests.add(loaded(tmp_path / f"{word}.safetensors", base_model).weights_digest)
    assert len(digests) == 2


def test_what_a_tokenizer_pads_with(base_model, copied):
    path = copied / "tokenizer/tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "a"}))
    model = loaded(copied, base_model)
    assert model.weights_digest != base_model.weights_digest
    assert any("the tokenizer is not the base's" in warning for warning in model.proof["warnings"])


def test_a_setting_of_the_pipeline_itself(tmp_path):
    folder = families.save_family("sdxl", tmp_path / "sdxl")
    base = load_pipeline(parse_reference(str(folder)))
    index = json.loads((folder / "model_index.json").read_text())
    other = not index["force_zeros_for_empty_prompt"]
    (folder / "model_index.json").write_text(json.dumps(index | {"force_zeros_for_empty_prompt": other}))
    model = loaded(folder, base)
    assert model.weights_digest != base.weights_digest
    assert any("force_zeros_for_empty_prompt" in warning for warning in model.proof["warnings"])


OWN = """
from diffusers import StableDiffusionPipeline

class Mine(StableDiffusionPipeline):
    factor = {factor}
"""


def test_the_code_that_comes_with_a_folder(base_model, copied):
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Mine"]}))
    digests = set()
    for factor in (1, 0):
        (copied / "pipeline.py").write_text(OWN.format(factor=factor))
        digests.add(loaded(copied, base_model, trust_remote_code=True).weights_digest)
    assert len(digests) == 2


HOOKS = """
def service():
    return lambda prompts, seeds: []

def named():
    def draw(prompts, seeds):
        return []
    draw.fingerprint = open("version").read()
    return draw

def hooked(pipeline):
    pipeline.unet.conv_in.register_forward_hook(lambda layer, inputs, output: output * float(open("factor").read()))
    return pipeline

def plain(pipeline):
    pipeline.unet.conv_in.bias += 1
    return pipeline
"""


@pytest.fixture
def digest_in_run(base_model, tmp_path, monkeypatch):
    """The digest of a hook as a test run of that mark would have it."""
    (tmp_path / "our_hooks.py").write_text(HOOKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "our_hooks", raising=False)

    def of(name, run):
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", run)
        return load_candidate(parse_reference(f"our_hooks:{name}"), base_model).weights_digest

    return of


@pytest.mark.parametrize("name", ["service", "hooked"])
def test_what_cannot_be_seen_is_not_taken_over_from_an_earlier_run(digest_in_run, name):
    assert digest_in_run(name, "one") == digest_in_run(name, "one")
    assert digest_in_run(name, "one") != digest_in_run(name, "another")


def test_a_service_that_names_its_version_keeps_its_images_until_that_changes(digest_in_run, tmp_path):
    (tmp_path / "version").write_text("1")
    first = digest_in_run("named", "one")
    assert digest_in_run("named", "another") == first
    (tmp_path / "version").write_text("2")
    assert digest_in_run("named", "one") != first


def test_a_function_that_edits_weights_alone_keeps_its_images(digest_in_run):
    assert digest_in_run("plain", "one") == digest_in_run("plain", "another")


def test_one_process_has_one_mark(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    assert session_id() == session_id() != ""


def test_a_fork_is_a_session_of_its_own(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    before = session_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, session_id().encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as sent:
        assert sent.read() not in {"", before}
    assert session_id() == before


def test_how_images_without_seeds_were_handed_out(base_model, tmp_path):
    from PIL import Image

    lines = []
    for number in range(3):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "prompt": "a"}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    settings = []
    for wanted in ([("a", 7)], [("a", 5), ("a", 7)]):
        image_source = load_candidate(parse_reference(f"images:{tmp_path}"), base_model).image_source
        image_source.expect(wanted)
        settings.append(dict(image_source.settings))
    assert settings[0] != settings[1]
