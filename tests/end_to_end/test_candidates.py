"""Real audits of candidates of other kinds than folders and UNets: adapters, Python functions, images made elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import processes
import pytest
import writers
from coarse import FEW_IMAGES, coarse_policy

ROOT = Path(__file__).parents[2]
FIGURES = FEW_IMAGES | {"steps": 2, "minimum_valid": 2}
DOCUMENTED = {0, 1, 10, 12}
BASE = ["--target=Van Gogh", "--base=atelier:base"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Very few images of two steps, and controls that let nearly anything pass: too coarse to judge anything."""
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FIGURES)


@pytest.fixture
def audit(quick, store, tmp_path):
    """Run an audit of a model; returns exit code, terminal text and run folder."""

    def run(model, *options, folder="run"):
        command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *BASE, f"--model={model}"]
        command += [f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / folder}", *options]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = processes.run(command, cwd=ROOT, env=environment)
        return done.returncode, done.stdout + done.stderr, tmp_path / folder

    return run


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def evidence(folder):
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    return {record["case_id"]: {k: v for k, v in record.items() if k != "volatile"} for record in records}


def atelier_unet():
    from safetensors.torch import load_file

    return load_file(ROOT / "dmun_audit/atelier/weights/base/unet/diffusion_pytorch_model.safetensors")


def keys_and_values():
    return {
        name.removesuffix(".weight"): tensor.float()
        for name, tensor in atelier_unet().items()
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    }


def test_an_spm_is_audited_with_its_strength_by_prompt_whatever_the_workers(audit, tmp_path):
    writers.save_spm(tmp_path / "spm.safetensors", writers.kohya(keys_and_values(), rank=1), ["van gogh"], 1, 1.0)
    code, text, alone = audit(tmp_path / "spm.safetensors", folder="alone")
    assert code in DOCUMENTED, text
    _, text, shared = audit(tmp_path / "spm.safetensors", f"--store={tmp_path / 'other'}", "-n", "2", folder="shared")
    assert evidence(alone) == evidence(shared), text
    proof = manifest(alone)["models"]["candidate"]["proof"]
    assert proof["format"].startswith("SPM")
    assert any("facilitated transport" in note for note in proof["notes"])
    assert "facilitated transport" in (alone / "report.html").read_text()


def test_a_lora_is_audited_over_its_base(audit, tmp_path):
    from safetensors.torch import save_file

    save_file(writers.kohya(keys_and_values(), rank=2), tmp_path / "lora.safetensors")
    code, text, folder = audit(tmp_path / "lora.safetensors")
    assert code in DOCUMENTED, text
    assert manifest(folder)["models"]["candidate"]["proof"]["changed_tensors"] == len(keys_and_values())


def _listed(quick, path):
    command = [sys.executable, "-m", "dmun_audit.cli", "requests", *BASE, f"--policy={quick}", "-o", str(path)]
    assert processes.run(command, timeout=120).returncode == 0
    return [json.loads(line) for line in path.read_text().splitlines()]


def _drawn(folder, entries):
    """Images drawn by a program of one's own, one at a time, from the base: nothing was unlearned."""
    import torch
    from PIL import Image

    from dmun_audit.models.loading import load_pipeline
    from dmun_audit.models.references import parse_reference

    pipeline = load_pipeline(parse_reference("atelier:base")).pipeline
    for entry in entries:
        generator = torch.Generator("cpu").manual_seed(entry["seed"])
        image = pipeline(entry["prompt"], num_inference_steps=2, generator=generator, output_type="np").images[0]
        Image.fromarray((image * 255).round().astype("uint8")).save(folder / entry["file_name"])


def test_images_made_elsewhere_are_judged_and_what_that_forgoes_is_said(audit, quick, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    entries = _listed(quick, folder / "metadata.jsonl")
    _drawn(folder, entries)
    code, text, run = audit(f"images:{folder}")
    assert code in DOCUMENTED, text
    page = (run / "report.html").read_text()
    for words in ("No weights were seen", "Seeds are as the list gives them"):
        assert any(words in warning for warning in manifest(run)["warnings"])
        assert words in page
        assert words in " ".join(text.split())
    kept = [record for record in evidence(run).values() if record["group"] == "retention" and "measures" in record]
    assert kept

    (folder / entries[0]["file_name"]).rename(folder / "hidden")
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(lines[1:]) + "\n")
    code, text, run = audit(f"images:{folder}", folder="again")
    assert code == 4
    assert "lacks 1 images that the audit needs" in text
    assert not list(run.glob("images/*"))


HOOK = """
import numpy as np

def edited(pipeline):
    for name, tensor in pipeline.unet.state_dict().items():
        if "attn2.to_v" in name:
            tensor.mul_(0.5)
    return pipeline

def service():
    def draw(prompts, seeds):
        return [np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8) for seed in seeds]
    return draw
"""


@pytest.mark.parametrize(
    ("function", "words"), [("edited", "a function made this model"), ("service", "cannot see whether it uses the given seeds")]
)
def test_a_python_function_is_audited(audit, tmp_path, function, words):
    (tmp_path / "our_service.py").write_text(HOOK)
    code, text, folder = audit(f"our_service:{function}")
    assert code in DOCUMENTED, text
    assert words in (folder / "report.html").read_text()
    assert manifest(folder)["models"]["candidate"]["reference"] == f"our_service:{function}"


def test_a_function_that_is_not_there_is_one_error(audit, tmp_path):
    (tmp_path / "our_service.py").write_text(HOOK)
    code, text, _ = audit("our_service:edit")
    assert code == 4
    told = text.partition("short test summary info")[0]  # which pytest shortens, except where CI is in the environment
    assert told.count("has no function 'edit'") == 2  # once of the test that met it, once at the end
    assert "During handling" not in text
    assert "Traceback" not in text
