"""CLIP models that open_clip opens with only a warning: each is an error that names the right architecture."""

from __future__ import annotations

import json

import pytest

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit.judge.clip import ClipJudge

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny architecture in open_clip's registry, in both activations; its weights are the tag `quick` of each."""
    torchvision_compatibility.make_importable()
    import open_clip
    import torch
    from open_clip import pretrained

    folder = tmp_path_factory.mktemp("configs")
    (folder / "Tiny.json").write_text(json.dumps(TINY))
    (folder / "Tiny-quickgelu.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(folder)
    weights = folder / "tiny.pt"
    torch.save(open_clip.create_model("Tiny").state_dict(), weights)
    settings = pretrained._pcfg(file=str(weights), url="https://weights.test/tiny.pt", quick_gelu=True)
    for name in ("Tiny", "Tiny-quickgelu"):
        pretrained._PRETRAINED[name] = {"quick": settings}
    pretrained._PRETRAINED["Tiny"]["plain"] = pretrained._pcfg(file=str(weights))
    yield weights
    for name in ("Tiny", "Tiny-quickgelu"):
        del pretrained._PRETRAINED[name]


@pytest.mark.parametrize(
    ("architecture", "tag", "right"),
    [
        ("ViT-B-32", "openai", "open_clip:ViT-B-32-quickgelu/openai"),
        ("ViT-L-14", "openai", "open_clip:ViT-L-14-quickgelu/openai"),
        ("ViT-B-32", "laion400m_e32", "open_clip:ViT-B-32-quickgelu/laion400m_e32"),
        ("ViT-B-32-quickgelu", "laion2b_s34b_b79k", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
    ],
)
def test_the_wrong_activation_names_the_right_architecture(architecture, tag, right):
    """The published models; nothing is fetched."""
    with pytest.raises(LoadError, match="wrong activation") as caught:
        ClipJudge(f"open_clip:{architecture}/{tag}")
    assert caught.value.remedy == f"write {right}"
    assert "QuickGELU mismatch" in caught.value.why


@pytest.mark.parametrize("reference", ["open_clip:Tiny-quickgelu/quick", "open_clip:Tiny/plain"])
def test_the_right_activation_is_opened(tiny, reference):
    assert ClipJudge(reference).digest


def test_the_right_activation_computes_otherwise(tiny, images):
    scores = [
        ClipJudge(reference).embed_images(images[:1]) for reference in ("open_clip:Tiny-quickgelu/quick", "open_clip:Tiny/plain")
    ]
    assert abs(scores[0] - scores[1]).max() > 1e-6


def test_a_file_with_a_published_name(tiny):
    """open_clip itself does not check the weights of a file."""
    with pytest.raises(LoadError, match="wrong activation") as caught:
        ClipJudge(f"open_clip:Tiny/{tiny}")
    assert caught.value.remedy == f"write open_clip:Tiny-quickgelu/{tiny}"


def test_a_warning_that_only_open_clip_gives_is_an_error(tiny, monkeypatch):
    """Should the check before loading miss a mismatch, open_clip's own warning counts."""
    from dmun_audit.judge import open_clip_models

    monkeypatch.setattr(open_clip_models, "_refuse_another_activation", lambda *arguments: None)
    with pytest.raises(LoadError, match="QuickGELU mismatch between final model config"):
        ClipJudge("open_clip:Tiny/quick")


def test_a_folder_without_weights_is_no_random_judge(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
    with pytest.raises(LoadError, match="Required pretrained weights"):
        ClipJudge(f"local-dir:{tmp_path}")
