"""References of judges: what is accepted, and what is one clear error before anything is loaded."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dmun_audit._util.errors import LoadError
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.kinds import check_judge, check_others, parse_judge
from dmun_audit.judge.reference import clip_parts
from dmun_audit.models.references import atelier_judge


@pytest.mark.parametrize("reference", ["ViT-B-32", "open_clip:ViT-B-32", "local-dir:", "hf-hub:", "clip:ViT-B-32/openai"])
def test_a_judge_of_no_known_kind_names_the_kinds(reference):
    with pytest.raises(LoadError, match="of no known kind"):
        check_judge(reference)


def test_a_folder_without_its_configuration_is_named(tmp_path):
    with pytest.raises(LoadError, match=r"no open_clip_config\.json"):
        check_judge(f"local-dir:{tmp_path}")


def test_the_parts_of_a_clip_reference():
    check_judge("atelier:judge")
    assert clip_parts("open_clip:ViT-B-32/laion2b_s34b_b79k") == ("ViT-B-32", "laion2b_s34b_b79k")
    assert clip_parts("hf-hub:owner/name") == ("hf-hub:owner/name", None)


def test_another_preprocessing_is_another_judge(tmp_path):
    copy = shutil.copytree(atelier_judge(), tmp_path / "judge")
    same = ClipJudge(f"local-dir:{copy}").digest
    assert same == ClipJudge(f"local-dir:{atelier_judge()}").digest
    path = Path(copy, "open_clip_config.json")
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(config))
    assert ClipJudge(f"local-dir:{copy}").digest != same


@pytest.mark.parametrize("reference", ["", "classifer:owner/name#nsfw", "object:owner/name", "vml:transformers:x", "nonsense"])
def test_a_detector_of_no_known_kind_names_the_kinds(reference):
    with pytest.raises(LoadError, match=r"of no known kind[\s\S]*classifier:MODEL#label"):
        parse_judge(reference)


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("classifer:owner/name#nsfw", "classifier:"),
        ("object:owner/name", "objects:"),
        ("openclip:ViT-B-32/openai", "open_clip:"),
        ("reference:owner/name#x", "references:"),
        ("atelie:judge", "atelier:judge"),
    ],
)
def test_a_misspelt_kind_gets_a_suggestion(reference, meant):
    with pytest.raises(LoadError, match=f"did you mean {meant}"):
        parse_judge(reference)


def test_the_parts_of_a_detector(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.PNG")
    (tmp_path / "net.onnx").write_bytes(b"")
    assert _parts("classifier:owner/name@v1#porn+hentai") == ("classifier", "owner/name@v1", "porn+hentai")
    assert _parts("objects:owner/name") == ("objects", "owner/name", "")
    assert _parts(f"references:open_clip:ViT-B-32/openai#{tmp_path}") == (
        "references",
        "open_clip:ViT-B-32/openai",
        str(tmp_path),
    )
    assert _parts(f"faces:{tmp_path / 'net.onnx'}#{tmp_path}") == ("faces", str(tmp_path / "net.onnx"), str(tmp_path))
    assert _parts("vlm:http://localhost:8000/v1#qwen") == ("vlm", "http://localhost:8000/v1#qwen", "")
    assert _parts("open_clip:ViT-L-14/openai") == ("clip", "open_clip:ViT-L-14/openai", "")


def _parts(text):
    reference = parse_judge(text)
    return reference.kind, reference.source, reference.query


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("classifier:", "names no model"),
        ("classifier:#nsfw", "names no model"),
        ("classifier:./nowhere#x", "there is no folder ./nowhere"),
        ("classifier:{empty}#x", r"no config\.json"),
        ("references:owner/name", "has no reference images"),
        ("references:owner/name#{empty}", "no images in"),
        ("references:open_clip:ViT-B-32#{empty}", "of no known kind"),
        ("faces:owner/name#{empty}", r"no \.onnx file"),
        ("vlm:transformers:./nowhere", "there is no folder ./nowhere"),
        ("vlm:gpt", "names no language model"),
        ("vlm:http://localhost:8000/v1", "which model to ask"),
        ("vlm:transcript:{transcript}", "cannot answer about new images"),
        ("local-dir:{empty}", r"no open_clip_config\.json"),
    ],
)
def test_a_source_that_is_not_there_is_one_error_before_anything_is_loaded(reference, words, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "answers.jsonl").write_text("{}")
    with pytest.raises(LoadError, match=words):
        parse_judge(reference.format(empty=tmp_path / "empty", transcript=tmp_path / "answers.jsonl"))


def test_only_a_clip_model_can_be_the_judge():
    with pytest.raises(LoadError, match=r"no CLIP model[\s\S]*--detector"):
        check_judge("classifier:owner/name#nsfw")


def test_the_second_judge_is_another_than_the_one_that_detects():
    assert check_others("atelier:judge", None, None) == {}
    assert check_others("atelier:judge", "vlm:http://x/v1#m", "atelier:judge") == {
        "detector": "vlm:http://x/v1#m",
        "second_judge": "atelier:judge",
    }
    for detector in (None, "atelier:judge"):
        with pytest.raises(LoadError, match="agree with itself"):
            check_others("atelier:judge", detector, "atelier:judge")


def test_references_are_parsed_without_torch(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    (tmp_path / "net.onnx").write_bytes(b"")
    references = [
        "classifier:owner/name#x",
        "objects:owner/name#a logo",
        f"references:owner/name#{tmp_path}",
        f"references:atelier:judge#{tmp_path}",
        f"faces:{tmp_path / 'net.onnx'}#{tmp_path}",
        "vlm:transformers:owner/name",
        "open_clip:ViT-B-32/openai",
    ]
    code = "import sys; from dmun_audit.judge.kinds import parse_judge; "
    code += f"kinds = [parse_judge(each).kind for each in {references!r}]; "
    code += "print(*kinds, *({'torch', 'transformers', 'open_clip', 'onnxruntime'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True)
    assert done.stdout.split() == ["classifier", "objects", "references", "references", "faces", "vlm", "clip"], done.stderr
