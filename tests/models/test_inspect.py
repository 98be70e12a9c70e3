"""`dmun-audit inspect` and `dmun-audit requests`, as they are typed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
import torch
import writers
from safetensors.torch import load_file, save_file

from dmun_audit.cli import main
from dmun_audit.models.references import WEIGHTS_FOLDER

UCE = WEIGHTS_FOLDER / "uce-van-gogh.safetensors"

# Runs the command in a process of its own and says how much memory it took at most.
MEASURED = """
import sys
from dmun_audit.cli import main
code = main(sys.argv[1:])
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) * 1024
print("torch" in sys.modules, peak, file=sys.stderr)
sys.exit(code)
"""


def inspected(capsys, *arguments):
    assert main(["inspect", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_file_over_its_base_is_proven(capsys):
    found = json.loads(inspected(capsys, UCE, "--base=atelier:base", "--json"))
    proof = found["proof"]
    assert found["format"] == "partial unet (safetensors, diffusers names)"
    assert proof["components"]["unet"]["matched"] == proof["components"]["unet"]["changed"] == len(load_file(UCE))
    assert proof["components"]["unet"]["unexpected"] == 0
    assert proof["relative_norm"] > 0
    assert len(found["source_digest"]) == len(found["weights_digest"]) == 64


def test_what_inspect_proves_is_what_an_audit_loads(capsys):
    from dmun_audit.models.loading import load_candidate, load_pipeline
    from dmun_audit.models.references import parse_reference

    found = json.loads(inspected(capsys, UCE, "--base=atelier:base", "--json"))
    loaded = load_candidate(parse_reference(str(UCE)), load_pipeline(parse_reference("atelier:base")))
    assert (found["weights_digest"], found["source_digest"]) == (loaded.weights_digest, loaded.source_digest)
    assert found["proof"] == loaded.proof


def test_the_text_names_components_blocks_and_digests(capsys):
    text = inspected(capsys, UCE, "--base=atelier:base")
    assert "|Δ|/|W|" in text
    assert "down_blocks.0" in text
    assert text.count("sha256:") == 3


def test_headers_alone_give_counts_and_no_norms(capsys):
    found = json.loads(inspected(capsys, UCE, "--base=atelier:base", "--quick", "--json"))
    tensors = load_file(UCE)
    assert found["holds"]["weights"]["tensors"] == len(tensors)
    assert found["holds"]["weights"]["numbers"] == sum(math.prod(tensor.shape) for tensor in tensors.values())
    assert found["fit"]["unet"]["matched"] == sum(found["touched"].values()) == len(tensors)
    assert found["proof"] is found["weights_digest"] is None


def test_a_folder_is_compared_with_its_base(capsys):
    found = json.loads(inspected(capsys, "atelier:retrained", "--json"))
    assert found["base"] == "atelier:base"
    assert found["proof"]["components"]["vae"]["changed"] == 0
    assert found["proof"]["components"]["unet"]["changed"] == found["proof"]["components"]["unet"]["compared"]


def test_a_base_alone_is_compared_with_nothing(capsys):
    found = json.loads(inspected(capsys, "atelier:base", "--json"))
    assert found["proof"]["compared_tensors"] == 0
    assert not found["warnings"]


def _scheduler(folder, **settings):
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_scheduler_and_prediction_type_are_told_as_an_audit_does(capsys, copied, base_folder, base_model):
    from dmun_audit.models.loading import load_candidate
    from dmun_audit.models.references import parse_reference
    from dmun_audit.policy import load_policy
    from dmun_audit.render.sampling import differences, open_sampler

    _scheduler(copied, prediction_type="v_prediction", beta_end=0.03)
    found = json.loads(inspected(capsys, copied, f"--base={base_folder}", "--json"))
    assert found["schedulers"] == {
        "candidate": {"class": "DDIMScheduler", "prediction_type": "v_prediction"},
        "base": {"class": "DDIMScheduler", "prediction_type": "epsilon"},
    }
    sampling = load_policy("standard").sampling
    base = open_sampler(base_model, sampling, "cpu")
    candidate = open_sampler(load_candidate(parse_reference(str(copied)), base_model), sampling, "cpu", base)
    audits = differences(base, candidate)
    assert found["warnings"][: len(audits)] == audits
    assert "beta_end 0.02 → 0.03" in audits[0]
    assert "predicts v_prediction, the base epsilon: it is no edit of this base" in audits[1]
    quick = json.loads(inspected(capsys, copied, f"--base={base_folder}", "--json", "--quick"))
    assert quick["schedulers"] == found["schedulers"]
    text = inspected(capsys, copied, f"--base={base_folder}")
    assert "scheduler         DDIMScheduler, predicts v_prediction" in text
    assert "base's scheduler  DDIMScheduler, predicts epsilon" in text
    assert f"WARNING: {audits[1]}" in text


def test_rounded_tensors_have_a_column_of_their_own(capsys, copied, base_folder):
    path = copied / "vae/diffusion_pytorch_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    text = inspected(capsys, copied, f"--base={base_folder}")
    title = next(line for line in text.splitlines() if "component" in line).split()
    row = next(line for line in text.splitlines() if line.startswith("  vae ") and "tensors" not in line).split()
    cells = dict(zip(title, row, strict=True))
    assert cells["changed"] == "0"
    assert int(cells["rounded"]) > 40
    assert "rounded: tensors that differ from the base's by rounding" in text
    assert "does not differ from its base beyond rounding" in text


def test_the_scheduler_of_a_file_is_its_bases(capsys):
    found = json.loads(inspected(capsys, UCE, "--base=atelier:base", "--json"))
    assert found["schedulers"]["candidate"]["class"] == "DPMSolverMultistepScheduler"
    assert "base" not in found["schedulers"]
    assert not found["warnings"]


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_the_variant_that_was_loaded_is_told(capsys, copied, base_folder, quick):
    for component, variant, beside in (("unet", "non_ema", True), ("vae", "fp16", False), ("vae", "other", False)):
        plain = copied / component / "diffusion_pytorch_model.safetensors"
        if plain.is_file():
            tensors = {name: tensor.half() for name, tensor in load_file(plain).items()}
        save_file(tensors, plain.with_name(f"diffusion_pytorch_model.{variant}.safetensors"), metadata={"format": "pt"})
        if not beside:
            plain.unlink(missing_ok=True)
    notes = json.loads(inspected(capsys, copied, f"--base={base_folder}", "--json", *quick))["notes"]
    assert [note for note in notes if "variant" in note] == [
        "beside the unet's weights lies the variant non_ema: the plain file is loaded",
        "the vae is the variant fp16 (diffusion_pytorch_model.fp16.safetensors)",
        "beside the vae's weights lies the variant other: the variant fp16 is loaded",
    ]


def test_ema_weights_that_alone_differ_are_told(capsys, base_model, base_folder, tmp_path):
    trained = {name: tensor.clone() for name, tensor in base_model.pipeline.unet.state_dict().items()}
    ema = {
        f"model_ema.{name.replace('.', '')}": tensor + 1
        for name, tensor in writers.compvis_unet(trained, prefix="diffusion_model.").items()
    }
    torch.save(writers.compvis_unet(trained) | ema, tmp_path / "sd.ckpt")
    assert main(["inspect", str(tmp_path / "sd.ckpt"), f"--base={base_folder}"]) == 4
    assert "only the file's EMA weights (model_ema) differ from the base's" in capsys.readouterr().err


def test_weights_without_a_base_are_said_to_be_unproven(capsys):
    text = inspected(capsys, UCE)
    assert "weights in diffusers names" in text
    assert "without --base nothing says whether it fits" in text


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_a_file_that_does_not_fit_is_one_error(capsys, tmp_path, quick):
    save_file({"down_blocks.9.attentions.0.weight": torch.ones(2)}, tmp_path / "odd.safetensors")
    assert main(["inspect", str(tmp_path / "odd.safetensors"), "--base=atelier:base", *quick]) == 4
    error = capsys.readouterr().err
    assert error.count("ERROR") == 1
    assert "down_blocks.9.attentions.0.weight" in error


def test_the_headers_of_five_gigabytes_are_read_without_the_tensors(tmp_path):
    """A sparse file: five gigabytes long, with a header that fits. benchmarks/inspect_headers.py does it with real numbers."""
    numbers = 5_000_000_000 // 4
    table = {"conv_in.weight": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, numbers * 4]}}
    text = json.dumps(table).encode()
    with (tmp_path / "large.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + numbers * 4)
    command = [sys.executable, "-c", MEASURED, "inspect", str(tmp_path / "large.safetensors"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "1,250,000,000 numbers (F32), 5 GB" in done.stdout
    with_torch, peak = done.stderr.split()[-2:]
    assert with_torch == "False"
    assert int(peak) < 1_000_000_000


def test_requests_lists_what_an_audit_of_images_needs(capsys, tmp_path):
    assert (
        main(["requests", "--target=Van Gogh", "--base=atelier:base", "--policy=smoke", "-o", str(tmp_path / "list.jsonl")]) == 0
    )
    lines = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert f"{len(lines)} images" in capsys.readouterr().out
    assert len({line["file_name"] for line in lines}) == len({(line["prompt"], line["seed"]) for line in lines}) == len(lines)
    assert main(["requests", "--target=Van Gogh", "--base=atelier:base", "--policy=smoke"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines


def test_requests_makes_the_folder_of_its_list_and_needs_a_target(capsys, tmp_path):
    assert main(["requests", "--base=atelier:base"]) == 4
    assert "--target" in capsys.readouterr().err
    path = tmp_path / "new/images/metadata.jsonl"
    assert main(["requests", "--target=Van Gogh", "--base=atelier:base", "--policy=smoke", "-o", str(path)]) == 0
    assert path.is_file()


def test_an_empty_base_is_refused(capsys):
    assert main(["inspect", str(UCE), "--base="]) == 4
    assert "--base is empty" in capsys.readouterr().err


def test_requests_of_a_policy_that_draws_its_seeds_later_needs_one(capsys):
    command = ["requests", "--target=Van Gogh", "--base=atelier:base", "--policy=release"]
    assert main(command) == 4
    assert "--audit-seed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub cache that holds one model, the atelier's, under a commit, a branch and a tag; and no way to the hub."""
    import shutil

    home = tmp_path_factory.mktemp("hub")
    repository = home / "hub/models--owner--unlearned"
    shutil.copytree(WEIGHTS_FOLDER / "retrained", repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text("a" * 40)

    def inspect(reference):
        environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "dmun_audit.cli", "inspect", reference, "--base=atelier:base"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    return inspect


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["", "@v1", "@" + "a" * 40])
def test_a_hub_id_with_or_without_a_revision_is_loaded_from_the_cache(hub, revision):
    done = hub(f"owner/unlearned{revision}")
    assert done.returncode == 0, done.stderr
    assert f"fetched from the hub at commit {'a' * 40}" in done.stdout


@pytest.mark.slow
def test_a_revision_that_the_hub_does_not_have_is_one_error(hub):
    done = hub("owner/unlearned@v2")
    assert done.returncode == 4
    assert "ERROR: owner/unlearned@v2 could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr
