"""Real audits of one model of every family, through `pytest audits/` in a process of its own, judged by the atelier's judge."""

import json
import sys
from pathlib import Path

import processes
import pytest
from families import FAMILIES, save_edited, save_family

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy

ROOT = Path(__file__).parents[2]
JUDGE = ROOT / "dmun_audit" / "atelier" / "weights" / "judge"
INCOMPLETE = 10
# Two steps an image and few images: enough to follow every case from its prompt to the report.
POLICY = """
name = "tiny"
release_evidence = false
alpha = 0.05
images_at_most = 80

[sampling]
steps = 2
guidance = "model"
size = 32
batch = 4
threads = 1
dtype = "float32"

[controls]
sensitivity_floor = 0.50
sensitivity_images = 8
false_positive_ceiling = 0.20

[erasure]
ceiling = 0.20
images = 8

[adversarial]
prompts = 4
validation_images = 2
valid_at = 2
minimum_valid = 2
ceiling = 0.25
images = 8
per_prompt = "none"

[retention]
concepts = 3
pairs = 4
margin = 0.25
per_concept = "none"
"""
DENOISERS = {"sd3": "transformer", "flux": "transformer", "pixart": "transformer", "auraflow": "transformer"}
SCHEDULERS = {
    "sd1": "PNDMScheduler",
    "sd2": "DDIMScheduler",
    "sdxl": "EulerDiscreteScheduler",
    "sd3": "FlowMatchEulerDiscreteScheduler",
    "flux": "FlowMatchEulerDiscreteScheduler",
    "pixart": "DPMSolverMultistepScheduler",
    "auraflow": "FlowMatchEulerDiscreteScheduler",
}
GUIDANCE = {"sd1": 7.5, "sd2": 7.5, "sdxl": 5.0, "sd3": 7.0, "flux": 3.5, "pixart": 4.5, "auraflow": 3.5}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "tiny.toml"
    path.write_text(POLICY)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_every_family_is_audited_from_prompt_to_report(family, policy, tmp_path):
    base = save_family(family, tmp_path / "base")
    candidate = save_edited(family, base, tmp_path / "unlearned")
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--target=Van Gogh"),
        *(f"--model={candidate}", f"--base={base}", f"--judge=local-dir:{JUDGE}", f"--policy={policy}"),
        *(f"--store={tmp_path / 'store'}", f"--audit-dir={folder}", "--keep-going"),
    ]
    run = processes.run(command, cwd=ROOT)

    # A judge sees no Van Gogh in the noise that random weights draw, so its control must fail.
    assert run.returncode == INCOMPLETE, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    plan = make_plan(find_pack("Van Gogh", "real"), load_policy(str(policy)), 0)
    assert {record["case_id"] for record in records} == {case.id for case in plan.cases}
    drawn = [image for record in records for image in record["images"]]
    assert {image["model"] for image in drawn} == {"base", "candidate"}
    assert all((folder / "images" / f"{image['key']}.png").is_file() for image in drawn)
    assert (folder / "report.html").stat().st_size > 10_000

    manifest = json.loads((folder / "manifest.json").read_text())
    sampler = manifest["sampler"]
    assert manifest["exit_code"] == INCOMPLETE
    assert manifest["images"]["rendered"] >= len({image["key"] for image in drawn})
    assert (sampler["scheduler"], sampler["steps"], sampler["guidance"]) == (SCHEDULERS[family], 2, GUIDANCE[family])
    assert (sampler["size"], sampler["dtype"], sampler["batch"]) == ([32, 32], "float32", 4)
    assert sampler["settings"].get("prediction_type", "flow") == {"sd2": "v_prediction"}.get(
        family, "flow" if SCHEDULERS[family].startswith("FlowMatch") else "epsilon"
    )
    proof = manifest["models"]["candidate"]["proof"]
    assert proof["changed_components"] == [DENOISERS.get(family, "unet")]
    assert proof["changed_tensors"] > 0
