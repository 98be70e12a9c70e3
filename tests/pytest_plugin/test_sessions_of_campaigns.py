"""Several models for several targets in one session: each audit as if alone, base images drawn once, one table at the end."""

import json
import os
import re
import signal
import sys
import time
from itertools import groupby
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

import dmun_audit
from dmun_audit.cli import main
from dmun_audit.models.references import WEIGHTS_FOLDER
from dmun_audit.store.images import ImageStore
from dmun_audit.verdict.vocabulary import AuditVerdict

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]

MODELS = {"UCE": "atelier:uce-van-gogh", "noop": "atelier:noop", "flowers": "atelier:uce-sunflowers"}
TARGETS = {"Van Gogh": "van-gogh", "sunflowers": "sunflowers"}
AUDITS = [f"{model.lower()}/{slug}" for model in MODELS for slug in TARGETS.values()]
FIGURES = FEW_IMAGES | {"steps": 2, "prompts": 2, "images": 4}
FILE = """
target = ["Van Gogh", "sunflowers"]
base = "atelier:base"
policy = "quick.toml"
campaign-dir = "table"

[model]
UCE = "atelier:uce-van-gogh"
noop = "atelier:noop"
flowers = "atelier:uce-sunflowers"
"""
FEW = ["audits/test_controls.py", "audits/test_erasure.py"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a campaign file, and a policy of very few images of two steps beside it."""
    folder = tmp_path_factory.mktemp("campaign")
    coarse_policy(folder / "quick.toml", **FIGURES)
    (folder / "all.toml").write_text(FILE)
    return folder


def audit(*arguments, tests=("audits/",)):
    command = [sys.executable, "-m", "pytest", *tests, "-p", "no:cacheprovider", *map(str, arguments)]
    return processes.run(command, cwd=ROOT)


@pytest.fixture(scope="module")
def together(folder):
    """All audits in one session without workers, and what the terminal said."""
    options = [f"--campaign={folder / 'all.toml'}", f"--store={folder / 'store'}", f"--audit-dir={folder / 'run'}"]
    run = audit(*options, f"--junitxml={folder / 'pytest.xml'}", "-v")
    run.images = {name: manifest(folder / "run" / name)["images"] for name in AUDITS}
    return run


def evidence(run):
    records = [json.loads(line) for line in (run / "evidence.jsonl").read_text().splitlines()]
    return {record["case_id"]: {k: v for k, v in record.items() if k != "volatile"} for record in records}


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def table(folder):
    return json.loads((folder / "campaign.json").read_text())


def images(store):
    return sorted((store / "images").rglob("*.png"))


def rendered(run):
    return sum(manifest(path.parent)["images"]["rendered"] for path in run.rglob("manifest.json"))


def test_every_model_and_target_has_its_folder_its_verdict_and_its_row(together, folder):
    held = table(folder / "table")
    assert [(row["model"], row["target"]) for row in held["audits"]] == [(m, t) for m in MODELS for t in TARGETS], together.stdout
    for row, name in zip(held["audits"], AUDITS, strict=True):
        run = manifest(folder / "run" / name)
        assert (folder / "table" / row["folder"]).resolve() == folder / "run" / name
        assert (row["verdict"], row["audit_hash"], row["reference"]) == (run["verdict"], run["audit_hash"], MODELS[row["model"]])
        assert row["evidence_digest"] == run["evidence"]["digest"]
        assert set(row["claims"]) == {"erasure", "adversarial", "retention"}
    verdicts = {row["verdict"] for row in held["audits"]}
    assert held["verdict"] == next(verdict for verdict in AuditVerdict if verdict in verdicts)
    assert together.returncode == held["exit_code"] == AuditVerdict(held["verdict"]).exit_code
    assert together.stdout.count(f"3 models × 2 targets: {held['verdict']}") == 1
    assert f"table: {folder / 'table' / 'campaign.md'}" in together.stdout


def test_every_image_of_the_base_is_drawn_once(together, folder):
    store = ImageStore(folder / "store")
    facts = [store.stored(path.stem).facts for path in images(folder / "store")]
    base = [(each["prompt"], each["seed"]) for each in facts if each["model"] == "base"]
    assert len(base) == len(set(base)) > 20
    assert sum(each["rendered"] for each in together.images.values()) == len(facts)
    assert together.images["flowers/van-gogh"]["reused"] >= len(base) // 2 - 4  # the base's, which the first model drew


def test_tests_are_ordered_by_model_and_target_and_the_names_tell_both(together, folder):
    named = re.findall(r"^(\S+::test_\S+\[\S+\]) [A-Z]+", together.stdout, re.MULTILINE)
    assert len(named) == len(set(named)) > 60
    assert [prefix for prefix, _ in groupby(re.search(r"\[([^:]+):", name)[1] for name in named)] == AUDITS
    pooled = re.findall(r'name="(pooled\[[^"]+)"', (folder / "pytest.xml").read_text())
    assert len(pooled) == len(set(pooled)) == 18


def test_an_audit_alone_goes_on_in_the_folder_of_the_campaign_and_leaves_the_same(together, folder):
    run = folder / "run" / "flowers" / "sunflowers"
    before, drawn = evidence(run), len(images(folder / "store"))
    options = [f"--policy={folder / 'quick.toml'}", f"--store={folder / 'store'}", "--target=sunflowers"]
    alone = audit(*options, "--model=atelier:uce-sunflowers", f"--audit-dir={run}")
    assert f"VERDICT {manifest(run)['verdict']}" in alone.stdout, alone.stdout + alone.stderr
    assert evidence(run) == before
    assert len(manifest(run)["attempts"]) == 2
    assert len(images(folder / "store")) == drawn


def test_a_killed_campaign_goes_on_with_two_workers_and_draws_nothing_twice(together, folder, tmp_path):
    store = tmp_path / "store"
    options = [f"--campaign={folder / 'all.toml'}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}"]
    options.append(f"--campaign-dir={tmp_path / 'table'}")
    running = processes.start([sys.executable, "-m", "pytest", *FEW, "-p", "no:cacheprovider", *options], cwd=ROOT)
    while len(images(store)) < 16:
        assert running.is_alive()
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.join()
    stored = {path: path.stat().st_mtime_ns for path in images(store)}
    resumed = audit(*options, "-n", "2", tests=FEW)
    assert resumed.returncode == table(tmp_path / "table")["exit_code"], resumed.stdout
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    assert rendered(tmp_path / "run") == len(images(store)) - len(stored)
    for name in AUDITS:
        records = evidence(tmp_path / "run" / name)
        single = {key: value for key, value in evidence(folder / "run" / name).items() if key in records}
        drawn = [key for key, value in records.items() if not value.get("pooled")]
        assert len(drawn) > 4
        assert {key: records[key]["images"] for key in drawn} == {key: single[key]["images"] for key in drawn}


def test_a_model_that_cannot_be_loaded_fails_alone(together, folder, tmp_path):
    """One is missed before the run; of the other, the store tells wrong weights, which shows when it is loaded."""
    digests = [path for path in (folder / "store" / "fingerprints").iterdir() if "uce-sunflowers" in path.read_text()]
    digests[0].write_text(json.dumps({"model": "atelier:uce-sunflowers", "tensors_digest": "f" * 64}))
    models = ["--model=no/such/model/there", "--model=atelier:uce-sunflowers", "--model=atelier:noop", "--target=Van Gogh"]
    options = [f"--policy={folder / 'quick.toml'}", f"--store={folder / 'store'}", f"--audit-dir={tmp_path / 'run'}"]
    run = audit(*models, *options, "--base=atelier:base", f"--campaign-dir={tmp_path / 'table'}", tests=FEW)
    rows = table(tmp_path / "table")["audits"]
    assert [(row["model"], row["state"]) for row in rows] == [
        ("there", "not audited"), ("uce-sunflowers", "not audited"), ("noop", "concluded"),
    ], run.stdout  # fmt: skip
    assert "there is no model at no/such/model/there" in rows[0]["reasons"][0]
    assert "other weights than those that this audit was planned for" in rows[1]["reasons"][0]
    assert run.returncode == 10
    assert len(re.findall(r"^_+ .*uce-sunflowers/.* _+$", run.stdout, re.MULTILINE)) == 1  # one failed test; the rest is skipped
    assert len(re.findall(r"^_+ audit\[there/Van Gogh\] _+$", run.stdout, re.MULTILINE)) == 1
    assert manifest(tmp_path / "run" / "noop" / "van-gogh")["exit_code"] is not None


def test_a_part_of_a_campaign_is_partial_and_leaves_the_table_of_the_whole(together, folder):
    before = (folder / "table" / "campaign.json").read_bytes()
    options = [f"--campaign={folder / 'all.toml'}", f"--store={folder / 'store'}", f"--audit-dir={folder / 'part'}"]
    run = audit(*options, "-k", "noop/sunflowers: and controls", tests=FEW)
    assert run.returncode == 11, run.stdout
    assert [path.relative_to(folder / "part").as_posix() for path in (folder / "part").glob("*/*")] == ["noop/sunflowers"]
    assert (folder / "table" / "campaign.json").read_bytes() == before
    states = [row["state"] for row in table(folder / "table-partial")["audits"]]
    assert states == ["not selected"] * 3 + ["concluded"] + ["not selected"] * 2


def test_the_command_line_replaces_what_the_file_says(together, folder, tmp_path):
    options = [f"--campaign={folder / 'all.toml'}", "--model=atelier:uce-van-gogh", "--policy=release", "--collect-only", "-q"]
    run = audit(*options, f"--campaign-dir={tmp_path / 'table'}", f"--store={folder / 'store'}", tests=FEW)
    prefixes = set(re.findall(r"\[([^:]+):", run.stdout))
    assert prefixes == {"uce/van-gogh", "uce/sunflowers"}, run.stdout
    assert not (tmp_path / "table").exists()


def test_a_folder_that_is_taken_is_one_error_before_any_audit_begins(together, folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    options = [f"--campaign={folder / 'all.toml'}", f"--store={folder / 'store'}", f"--campaign-dir={tmp_path}"]
    run = audit(*options, f"--audit-dir={tmp_path / 'run'}", tests=FEW)
    assert run.returncode == 4
    assert "holds other files" in run.stdout + run.stderr
    assert not (tmp_path / "run").exists()


def test_the_runs_of_a_campaign_can_be_compared(together, folder, capsys):
    runs = [str(folder / "run" / name) for name in AUDITS]
    assert main(["compare", "--orderings", *runs]) == 0
    said = capsys.readouterr().out
    assert [run for run in runs if run not in said] == []
    assert main(["compare", *runs]) == 4
    assert "have different plans\n  why:  target: Van Gogh and sunflowers" in capsys.readouterr().err
    of_one_target = [run for run in runs if run.endswith("van-gogh")]
    assert main(["compare", *of_one_target, "--json"]) == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert [row["folder"] for row in methods] == of_one_target
    for row in methods:
        (claim,) = [case.claim for case in dmun_audit.load_run(row["folder"]).cases if case.pooled and case.group == "erasure"]
        assert row["figures"]["erasure"]["value"] == claim.estimate


def test_python_leaves_the_same_and_gives_the_table(together, folder, tmp_path):
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(WEIGHTS_FOLDER / "base", local_files_only=True)
    result = dmun_audit.campaign(
        {"UCE": MODELS["UCE"], "gone": "no/such/model/there", "held": pipeline}, "Van Gogh", base="atelier:base",
        policy=folder / "quick.toml", store=folder / "store", audit_dir=tmp_path / "run", campaign_dir=tmp_path / "table",
    )  # fmt: skip
    run = folder / "run" / "uce" / "van-gogh"
    assert evidence(result.results["UCE", "Van Gogh"].folder) == evidence(run)
    assert result.results["UCE", "Van Gogh"].manifest.audit_hash == manifest(run)["audit_hash"]
    assert (
        result.results["held", "Van Gogh"].manifest.images["rendered"] == 0
    )  # the base's weights, whose images are in the store
    assert set(result.errors) == {("gone", "Van Gogh")}
    assert (result.verdict, result.exit_code) == ("INCOMPLETE", 10)
    assert str(result).startswith("3 models × 1 target: INCOMPLETE\n")
    rows = result.to_pandas()
    assert rows.loc[("UCE", "Van Gogh"), "verdict"] == manifest(run)["verdict"]
    assert rows.loc[("UCE", "Van Gogh"), "erasure_upper"] > 0
    assert table(tmp_path / "table")["audits"][0]["folder"] == "../run/uce/van-gogh"
