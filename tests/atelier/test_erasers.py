"""UCE against its equation on the shipped base model, the controls, and the shipped models without the package's code."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmun_audit._util import torchvision_compatibility
from dmun_audit.atelier import erasers
from dmun_audit.atelier.sampling import open_pipeline
from dmun_audit.models import references

WEIGHTS = references.WEIGHTS_FOLDER


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(WEIGHTS / "base")


def test_uce_solves_its_own_normal_equations(pipeline):
    erase, guide, preserve = ["Van Gogh", "Vincent van Gogh"], "a picture", ["Claude Monet", "Edvard Munch"]
    edited = erasers.unified_concept_editing(pipeline, erase, guide, preserve, scale=0.7, ridge=0.4)
    name, weight = next(iter(edited.items()))
    before = dict(pipeline.unet.named_parameters())[name].detach().double()
    towards = erasers.concept_states(pipeline, [guide])[0]
    gradient = 0.4 * (weight.double() - before)
    for states in erasers.concept_states(pipeline, erase):
        length = min(len(states), len(towards))
        for c, v in zip(states[:length].double(), towards[:length].double(), strict=True):
            gradient += 0.7 * torch.outer(weight.double() @ c - before @ v, c)
    for states in erasers.concept_states(pipeline, preserve):
        for c in states.double():
            gradient += 0.7 * torch.outer((weight.double() - before) @ c, c)
    scale = before.norm() * sum(s.double().square().sum() for s in erasers.concept_states(pipeline, erase + preserve))
    assert gradient.norm() < 1e-5 * scale


def test_uce_edits_keys_and_values_of_cross_attention_alone(pipeline):
    names = {n for n, _ in pipeline.unet.named_parameters() if n.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))}
    assert erasers.unified_concept_editing(pipeline, ["Van Gogh"], "a picture", []).keys() == names


def test_the_controls_are_what_they_say(pipeline):
    mine = dict(pipeline.unet.named_parameters())
    for name, value in load_file(WEIGHTS / "noop.safetensors").items():
        assert torch.equal(value.float(), mine[name])
    for name, value in load_file(WEIGHTS / "damaged.safetensors").items():
        assert (value.float() - mine[name]).norm() / mine[name].norm() > 0.5


@pytest.mark.slow
def test_an_esd_step_moves_only_cross_attention(pipeline, tmp_path):
    before = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters()}
    fresh = open_pipeline(WEIGHTS / "base")
    tensors = erasers.erased_stable_diffusion(
        fresh, ["Van Gogh"], tmp_path / "esd.pt", steps=1, rate=1e-3, seed=0, progress=lambda line: None
    )
    assert tensors
    assert all(".attn2." in name for name in tensors)
    assert any(not torch.equal(value.float(), before[name].bfloat16().float()) for name, value in tensors.items())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["base", "retrained"])
def test_models_open_with_no_code_of_ours(model):
    """diffusers and transformers alone open them; a CPU-only torchvision needs the compatibility module, loaded by its path."""
    script = (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('compatibility', {torchvision_compatibility.__file__!r})\n"
        "compatibility = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(compatibility)\n"
        "compatibility.make_importable()\n"
        "import sys\n"
        "from diffusers import DiffusionPipeline\n"
        f"pipe = DiffusionPipeline.from_pretrained({str(WEIGHTS / model)!r}, local_files_only=True)\n"
        "image = pipe('a house by Munch', num_inference_steps=2, output_type='np').images[0]\n"
        "print(type(pipe).__name__, image.shape, 'dmun_audit' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/")
    assert run.stdout.strip().endswith("StableDiffusionPipeline (64, 64, 3) False"), run.stderr


def test_the_judge_opens_by_open_clip_from_its_folder():
    from dmun_audit.judge.clip import ClipJudge

    judge = ClipJudge(f"local-dir:{WEIGHTS / 'judge'}")
    vectors = judge.embed_texts(["a painting by Vincent van Gogh", "a photo"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_weights_fit_into_fifty_five_megabytes_and_the_card_holds_every_figure():
    from dmun_audit.atelier.figures import BARS

    size = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file())
    assert size <= 55_000_000
    assert set(BARS) <= set(json.loads((WEIGHTS / "card.json").read_text())["figures"])
