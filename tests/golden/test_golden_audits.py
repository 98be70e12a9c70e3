"""Whole audits come out as they always have: every outcome and every verdict, under the standard policy and seed 0.

A file beside this one holds what an audit came to, by case id: verdict, hits, trials and the outcomes of single cases. A
change that is meant to alter outcomes replaces these files and says why.
"""

import json
import os
import sys
from pathlib import Path

import processes
import pytest

from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.run import read_run

ROOT = Path(__file__).parents[2]
LONG = pytest.mark.skipif(
    "DMUN_AUDIT_GOLDEN_STORE" not in os.environ,
    reason="draws 964 images of another target: give a store in DMUN_AUDIT_GOLDEN_STORE",
)
MODELS = ("uce-van-gogh", "base", "damaged", pytest.param("uce-sunflowers", marks=LONG))

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def audit(golden_store, tmp_path_factory):
    """Audit a model of the atelier; returns its run folder and what the terminal said."""
    folder = tmp_path_factory.mktemp("golden")

    def run(model):
        options = [f"--model=atelier:{model}", "--policy=standard", f"--store={golden_store}", f"--audit-dir={folder / model}"]
        done = processes.run(
            [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *options], cwd=ROOT, timeout=1800
        )
        return folder / model, done

    return run


def _came_to(run):
    """What a run came to, as the golden files hold it."""
    cases = {}
    for case in run.cases:
        claim = case.claim
        outcomes = None if claim.outcomes is None else list(claim.outcomes)
        cases[case.case_id] = [str(case.verdict), claim.hits, claim.trials, outcomes]
    return {"verdict": str(run.verdict), "cases": cases}


@pytest.mark.parametrize("model", MODELS)
def test_an_audit_comes_to_what_it_always_has(audit, model):
    folder, done = audit(model)
    run = checked_run(folder)
    assert run.contradictions == ()
    assert _came_to(run) == json.loads((Path(__file__).parent / f"{model}.json").read_text()), done.stdout + done.stderr
    assert done.returncode == run.verdict.exit_code
    evidence = (folder / "evidence.jsonl").read_bytes()
    assert len(evidence.splitlines()) == len(run.cases)
    if model != "uce-van-gogh":
        return
    audit(model)
    assert read_run(folder).manifest.images["rendered"] == 0
    assert (folder / "evidence.jsonl").read_bytes() == evidence
