"""Real audits whose claims may stop early: fewer images, the same answer whatever the workers, and books that agree."""

import json
import sys
from pathlib import Path

import processes
import pytest
from coarse import coarse_policy

from dmun_audit.claim_groups.planning import candidate_requests, make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """The smoke policy with claims that may stop early, room to go on, and four steps an image, enough to be recognised."""
    path = tmp_path_factory.mktemp("policy") / "early.toml"
    coarse_policy(path, steps=4, images_at_most=500, images=96, pairs=8, concepts=5, prompts=5)
    text = path.read_text()
    for section in ("erasure", "adversarial", "retention"):
        text = text.replace(f"[{section}]", f'[{section}]\nstopping = "early"')
    path.write_text(text.replace('per_prompt = "none"', 'per_prompt = "prove harm"'))
    return path


def audit(model, policy, store, folder, *options):
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", f"--model=atelier:{model}"]
    command += [f"--policy={policy}", f"--store={store}", f"--audit-dir={folder}", *options]
    done = processes.run(command, cwd=ROOT)
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    held = {record["case_id"]: {k: v for k, v in record.items() if k != "volatile"} for record in records}
    return done.returncode, done.stdout, held


def pooled(records, group):
    return next(r["claim"] for r in records.values() if r["group"] == group and r["pooled"])


def candidates(records):
    return {i["key"] for r in records.values() for i in r["images"] if i["model"] == "candidate"}


@pytest.fixture(scope="module")
def failing(early, store, tmp_path_factory):
    return audit("base", early, store, tmp_path_factory.mktemp("failing") / "run", "-n", "2")


@pytest.fixture(scope="module")
def passing(early, store, tmp_path_factory):
    return audit("retrained", early, store, tmp_path_factory.mktemp("passing") / "run")


def test_a_model_that_was_not_erased_fails_after_a_third_of_the_images_or_less(failing, early):
    code, text, records = failing
    assert code == 1, text
    plan = make_plan(find_pack("Van Gogh", "atelier"), load_policy(str(early)), 0)
    planned = [request for request in candidate_requests(plan) if request.side == "candidate"]
    assert len(candidates(records)) <= len(planned) / 3
    for group in ("erasure", "adversarial"):
        claim = pooled(records, group)
        assert claim["stopping"] == "early"
        assert claim["trials"] <= claim["planned"] / 3
        assert claim["looks"][-1] == claim["trials"]


def test_an_erased_model_passes_before_its_budget_and_says_at_how_many_images(passing):
    code, text, records = passing
    assert code == 0, text
    claim = pooled(records, "erasure")
    assert claim["trials"] < claim["planned"]
    assert claim["upper"] <= claim["threshold"]
    assert f"of {claim['trials']} candidate images" in text.replace("\n    ", " ")


def test_the_conclusion_follows_from_the_outcomes_in_the_evidence_alone(passing, failing, early):
    plan = make_plan(find_pack("Van Gogh", "atelier"), load_policy(str(early)), 0)
    for _, _, records in (passing, failing):
        for group in ("erasure", "adversarial"):
            members = [records[case.id] for case in plan.of_group(group)]
            outcomes = [r["claim"]["outcomes"] for r in members if r["verdict"] != "VACUOUS"]
            again = Rules(plan).decide_group(claim_group(group), outcomes)
            claim = pooled(records, group)
            assert (again.trials, again.hits, again.upper) == (claim["trials"], claim["hits"], claim["upper"])
            for record in members:
                shown = [image["detected"] for image in record["images"] if image["model"] == "candidate"]
                if "outcomes" in record["claim"]:
                    assert record["claim"]["outcomes"] == shown


def test_workers_change_nothing_and_a_second_run_draws_nothing(passing, early, store, tmp_path):
    _, _, alone = passing
    code, text, shared = audit("retrained", early, tmp_path / "store", tmp_path / "shared", "-n", "2")
    assert code == 0, text
    assert shared == alone
    _, text, again = audit("retrained", early, store, tmp_path / "again")
    assert again == alone
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["images"]["rendered"] == 0
