"""Real audits with a second, independent judge: what its word counts, and where it is read."""

import json
import os
import sys
from html import unescape
from pathlib import Path

import processes
import pytest
from altered_judges import drawn_anew, judge_with, nudged
from coarse import coarse_policy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A store, and policies in which the second judge must agree or is reported: four steps an image."""
    folder = tmp_path_factory.mktemp("second")
    coarse_policy(folder / "reported.toml", steps=4)
    text = (folder / "reported.toml").read_text()
    (folder / "agree.toml").write_text(text.replace("[controls]", '[controls]\nsecond_judge = "must agree"'))
    return folder


@pytest.fixture
def audit(shared, tmp_path):
    def run(policy, *options, model="retrained"):
        command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", f"--model=atelier:{model}"]
        command += [
            f"--policy={shared / policy}.toml",
            f"--store={shared / 'store'}",
            f"--audit-dir={tmp_path / 'run'}",
            *options,
        ]
        done = processes.run(command, cwd=ROOT, env=os.environ | {"COLUMNS": "100"})
        return done.returncode, " ".join((done.stdout + done.stderr).split()), tmp_path / "run"

    return run


def records(folder):
    return [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]


def pooled(folder, group):
    return next(record for record in records(folder) if record["pooled"] and record["group"] == group)


def page(folder):
    return " ".join(unescape((folder / "report.html").read_text()).split())


def test_two_judges_that_agree_pass_and_where_they_differ_is_listed(audit, tmp_path):
    code, text, folder = audit("agree", f"--second-judge={judge_with(tmp_path / 'nudged', nudged)}")
    assert code == 0, text
    assert "The second judge:" in text
    assert pooled(folder, "erasure")["second"]["verdict"] == "PASS"
    images = {i["key"]: i for r in records(folder) for i in r["images"]}.values()
    differing = sum(i["detected"] != i["second_detected"] for i in images)
    assert f"They differ on {differing}:" in page(folder)
    assert 0 < differing < len(images) / 4


def test_a_second_judge_that_is_blind_makes_the_audit_incomplete_if_it_must_agree(audit, tmp_path):
    second = judge_with(tmp_path / "blind", drawn_anew)
    code, text, _ = audit("agree", f"--second-judge={second}")
    assert code == 10, text
    assert "VERDICT INCOMPLETE" in text
    assert "The policy requires two judges to agree, and the second judge fails this control" in text


def test_a_second_judge_that_is_only_reported_decides_nothing(audit, tmp_path):
    second = judge_with(tmp_path / "blind", drawn_anew)
    code, text, folder = audit("reported", f"--second-judge={second}", model="base")
    assert code == 1, text
    claim = pooled(folder, "erasure")
    assert (claim["verdict"], claim["second"]["verdict"]) == ("FAIL", "PASS")
    assert "decides nothing" in page(folder)


def test_a_policy_that_wants_two_judges_and_gets_one_is_one_clear_error(audit):
    code, text, folder = audit("agree")
    assert code == 4
    assert "requires two judges to agree" in text
    assert "--second-judge" in text
    assert not folder.exists()
