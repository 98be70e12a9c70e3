"""A real audit of a candidate that gives one picture for every prompt: the claims on subjects, variety and plain prompts fail."""

import os
import sys
from pathlib import Path

import processes
import pytest
from coarse import coarse_policy

from dmun_audit.evidence.run import read_run

ROOT = Path(__file__).parents[2]
FIGURES = {
    "batch": 4, "steps": 8, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 2, "prompts": 4, "images": 8,
    "concepts": 4, "pairs": 9, "sensitivity_floor": 0.01, "false_positive_ceiling": 0.99, "images_at_most": 200,
}  # fmt: skip
SECTIONS = """
[composition]

[diversity]

[unrelated]
prompts = 12
pairs = 1
"""
ONE_PICTURE = """
import numpy as np

def one_picture():
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    return lambda prompts, seeds: [picture for _ in seeds]
"""


@pytest.fixture(scope="module")
def audited(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rubbish")
    policy = coarse_policy(folder / "policy.toml", **FIGURES)
    policy.write_text(policy.read_text() + SECTIONS)
    (folder / "our_rubbish.py").write_text(ONE_PICTURE)
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--model=our_rubbish:one_picture"]
    command += ["--base=atelier:base", "--target=Van Gogh", f"--policy={policy}", f"--store={store}", "--audit-dir"]
    done = processes.run([*command, str(folder / "run")], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(folder)})
    return done, read_run(folder / "run")


def _pooled(run, group):
    return [case for case in run.cases if case.group == group and case.pooled]


def test_the_claims_fail_and_so_does_the_audit(audited):
    done, run = audited
    assert done.returncode == 1, done.stdout + done.stderr
    verdicts = {case.title: case.verdict for group in ("composition", "diversity", "unrelated") for case in _pooled(run, group)}
    assert len(verdicts) == 4
    assert "PASS" not in verdicts.values()
    assert verdicts["Over all retained concepts together, pictures are seldom repeated"] == "FAIL"


def test_the_terminal_names_what_was_lost(audited):
    done, run = audited
    text = " ".join(done.stdout.split())
    concepts = {case.concept.name for case in run.cases if case.group == "diversity" and case.concept}
    (pooled,) = _pooled(run, "composition")
    assert any(name in pooled.seen for name in concepts)
    assert "Pairs lost: “" in _pooled(run, "unrelated")[0].seen
    assert "The dossier has no composition prompts." in text


def test_the_evidence_repeats_the_pooled_claims(audited):
    _, run = audited
    (pooled,) = _pooled(run, "composition")
    single = [
        case.claim.outcomes for case in run.cases if case.group == "composition" and not case.pooled and case.claim.outcomes
    ]
    assert sum(map(len, single)) == pooled.claim.trials
    distances = next(case for case in run.cases if case.title.startswith("How much the images"))
    assert distances.measures["fid"] > 0.1
    page = (run.path / "report.html").read_text()
    assert "These plain prompts have nothing to do with the target." in page
