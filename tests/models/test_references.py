"""What `--model` and `--base` may say, where the base comes from, and digests of files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.models import references
from dmun_audit.models.model_card import card_base
from dmun_audit.models.references import default_base, parse_reference

MODELS = {
    "base": {"path": "base", "target": None, "base": None},
    "retrained": {"path": "retrained", "target": "Van Gogh", "base": "base"},
    "uce-van-gogh": {"path": "uce-van-gogh.safetensors", "target": "Van Gogh", "base": "base"},
    "receler-van-gogh": {"path": "receler-van-gogh", "target": "Van Gogh", "base": "base"},
}


@pytest.fixture
def atelier(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    for name in ("base", "retrained"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model_index.json").write_text("{}")
    (folder / "uce-van-gogh.safetensors").write_bytes(b"weights")
    (folder / "receler-van-gogh").mkdir()
    (folder / "receler-van-gogh/eraser_weights.pt").write_bytes(b"weights")
    (folder / "index.json").write_text(json.dumps({"models": MODELS, "judge": "judge", "default": "retrained"}))
    monkeypatch.setattr(references, "WEIGHTS_FOLDER", folder)
    return folder


@pytest.fixture
def pipeline(tmp_path):
    folder = tmp_path / "pipeline"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    return folder


# Parsing.


def test_a_pipeline_folder(pipeline, monkeypatch):
    assert parse_reference(str(pipeline)) == references.ModelReference(str(pipeline), "folder", pipeline, None)
    monkeypatch.chdir(pipeline.parent)
    assert parse_reference("pipeline").path == pipeline
    assert parse_reference("./pipeline/").kind == "folder"


def test_a_folder_that_is_no_pipeline_says_what_is_missing(pipeline):
    (pipeline / "scheduler").mkdir()
    with pytest.raises(UsageError, match=r"model_index\.json and no weights file"):
        parse_reference(str(pipeline / "scheduler"))


def test_the_folder_of_one_component_is_weights_to_lay_over_a_base(pipeline):
    assert parse_reference(str(pipeline / "unet")).kind == "weights"


def test_a_folder_of_images_is_told_how_to_be_named(tmp_path):
    (tmp_path / "metadata.jsonl").write_text("")
    with pytest.raises(UsageError, match=f"write images:{tmp_path}"):
        parse_reference(str(tmp_path))
    assert parse_reference(f"images:{tmp_path}").kind == "images"
    with pytest.raises(UsageError, match=r"no .*metadata\.jsonl"):
        parse_reference(f"images:{tmp_path / 'elsewhere'}")


def test_a_function_is_named_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    reference = parse_reference("my_models:unlearned")
    assert (reference.kind, reference.path) == ("hook", tmp_path / "my_models.py")
    with pytest.raises(UsageError, match="no Python module 'my_modles'"):
        parse_reference("my_modles:unlearned")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".ckpt", ".bin"])
def test_a_weights_file(tmp_path, suffix):
    path = tmp_path / f"uce{suffix}"
    path.write_bytes(b"")
    assert parse_reference(str(path)) == references.ModelReference(str(path), "weights", path, None)


def test_a_weights_file_needs_no_suffix(tmp_path):
    (tmp_path / "Abstractionism").write_bytes(b"")
    assert parse_reference(str(tmp_path / "Abstractionism")).kind == "weights"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("CompVis/stable-diffusion-v1-4", "CompVis/stable-diffusion-v1-4", None),
        ("owner/name.v1.5@fp16", "owner/name.v1.5", "fp16"),
        ("owner/name@refs/pr/3", "owner/name", "refs/pr/3"),
    ],
)
def test_a_hub_id(text, name, revision):
    reference = parse_reference(text)
    assert (reference.kind, reference.path, reference.name) == ("hub", None, text)
    assert references.hub_parts(reference) == (name, revision)


@pytest.mark.parametrize(
    "text",
    ["./out", "../a/b", "/a/b", "~/a", "a/b/c", "outputs", "a/uce.safetensors", "a/model.ckpt", "a b/c", "x" * 5000, "a\0b"],
)
def test_a_missing_path_is_named(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert text in str(caught.value)


def test_an_empty_reference():
    with pytest.raises(UsageError, match="empty"):
        parse_reference(" ")


# The atelier.


def test_atelier_models(atelier):
    assert parse_reference("atelier:retrained") == references.ModelReference(
        "atelier:retrained", "atelier", atelier / "retrained", "retrained"
    )
    assert references.is_atelier(parse_reference("atelier:base"))
    assert references.atelier_default() == "retrained"
    assert references.atelier_judge() == atelier / "judge"
    assert references.atelier_target(parse_reference("atelier:uce-van-gogh")) == "Van Gogh"
    assert references.atelier_target(parse_reference("atelier:base")) is None
    assert references.atelier_target(parse_reference("owner/name")) is None


def test_only_weights_of_the_atelier_have_a_base_below_them(atelier):
    for weights in ("uce-van-gogh", "receler-van-gogh"):
        assert references.atelier_own_base(parse_reference(f"atelier:{weights}")) == parse_reference("atelier:base")
    assert references.atelier_own_base(parse_reference("atelier:retrained")) is None


def test_an_unknown_atelier_model_gets_a_suggestion_and_the_list(atelier):
    with pytest.raises(UsageError) as caught:
        parse_reference("atelier:retraned")
    assert "did you mean atelier:retrained?" in str(caught.value)
    assert "base, retrained, uce-van-gogh" in str(caught.value)


@pytest.mark.parametrize("content", [None, "{"])
def test_an_atelier_that_is_not_installed(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    monkeypatch.setattr(references, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(UsageError, match="not in this installation"):
        parse_reference("atelier:base")


# The base.


def test_the_ini_file_comes_before_the_model_card(pipeline):
    (pipeline / "README.md").write_text("---\nbase_model: card/base\n---\n")
    candidate = parse_reference(str(pipeline))
    assert default_base(candidate, "ini/base").name == "ini/base"
    assert default_base(candidate, None).name == "card/base"
    assert default_base(candidate, "").name == "card/base"


def test_an_atelier_candidate_has_the_atelier_base(atelier):
    assert default_base(parse_reference("atelier:retrained"), None).text == "atelier:base"
    assert default_base(parse_reference("atelier:retrained"), "ini/base").text == "ini/base"


def test_no_base_is_a_usage_error(pipeline):
    with pytest.raises(UsageError, match="--base"):
        default_base(parse_reference(str(pipeline)), None)
    with pytest.raises(UsageError, match="--base"):
        default_base(parse_reference("owner/name"), None)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nbase_model: a/b\n---\ntext", "a/b"),
        ('---\nlicense: mit\nbase_model: "a/b"  # why\n---\n', "a/b"),
        ("---\nbase_model: 'a/b'\n---\n", "a/b"),
        ("---\nbase_model:\n- a/b\n- c/d\n---\n", "a/b"),
        ("---\nbase_model:\n  - 'a/b'\n---\n", "a/b"),
        ("---\nbase_model: [a/b, c/d]\n---\n", "a/b"),
        ("---\r\nbase_model: a/b\r\n---\r\n", "a/b"),
        ("---\nbase_model_relation: finetune\n---\n", None),
        ("---\nbase_model:\nlicense: mit\n---\n", None),
        ("---\nlicense: mit\n---\nbase_model: a/b\n", None),
        ("---\nbase_model: a/b\n", None),
        ("base_model: a/b\n", None),
        ("", None),
    ],
)
def test_the_base_of_a_model_card(tmp_path, card, expected):
    (tmp_path / "README.md").write_text(card, newline="")
    assert card_base(tmp_path / "README.md") == expected


def test_no_card_and_a_card_that_is_no_text(tmp_path):
    assert card_base(tmp_path / "README.md") is None
    (tmp_path / "README.md").write_bytes(b"\xff\xfe---")
    assert card_base(tmp_path / "README.md") is None


# Imports.


def test_parsing_imports_no_torch():
    script = "import sys, dmun_audit.models.references; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def _training(folder, *parts):
    folder.mkdir()
    for part in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl", "sampler.bin", "scaler.pt"):
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize("parts", [["unet"], ["unet", "unet_ema"]])
def test_the_folder_of_a_trainings_checkpoint_points_to_its_unet(tmp_path, parts):
    folder = _training(tmp_path / "checkpoint-500", *parts)
    with pytest.raises(UsageError) as caught:
        parse_reference(str(folder))
    assert "only state of a training (optimizer.bin)" in caught.value.why
    assert caught.value.remedy.startswith("name " + " or ".join(f"{folder}/{part}" for part in parts))
    assert parse_reference(f"{folder}/unet").kind == "weights"


def test_a_trainings_state_alone_is_no_model(tmp_path):
    with pytest.raises(UsageError, match="only state of a training"):
        parse_reference(str(_training(tmp_path / "checkpoint-500", "logs")))


def test_a_checkpoint_that_holds_an_adapter_is_weights(tmp_path):
    folder = _training(tmp_path / "checkpoint-500")
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    assert parse_reference(str(folder)).kind == "weights"


def test_a_folder_of_components_without_an_index_points_to_them(tmp_path):
    (tmp_path / "out/unet").mkdir(parents=True)
    (tmp_path / "out/unet/diffusion_pytorch_model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no model_index\.json and no weights file; there are weights in unet") as caught:
        parse_reference(str(tmp_path / "out"))
    assert f"name {tmp_path}/out/unet" in caught.value.remedy
