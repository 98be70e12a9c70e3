"""The auditor's own blind spots: a judge that sees nothing, one that sees the target everywhere, a base that never knew it.

Each is audited for real under the figures of the smoke policy, on a candidate that passes where the judge can see. None of them may
come out as anything but INCOMPLETE, with the reason wherever a reader may look.
"""

from __future__ import annotations

import json
import os
import sys
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import processes
import pytest
from altered_judges import always, drawn_anew, judge_with
from chat_server import serving
from coarse import coarse_policy

ROOT = Path(__file__).parents[2]
BLIND = "The judge misses the target, so its answers on the candidate do not count."
TRIGGER_HAPPY = "The judge detects the target in images without it."


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What all audits here share: images of four steps, which are enough for the atelier to be recognised, drawn once."""
    folder = tmp_path_factory.mktemp("controls")
    coarse_policy(folder / "four_steps.toml", steps=4)
    return folder


@pytest.fixture
def audit(shared, tmp_path):
    """Run an audit of the retrained model, in which nothing is left of the target; returns exit code, terminal text, run folder."""

    def run(*options, base="atelier:base"):
        command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--target=Van Gogh", f"--base={base}"]
        command += ["--model=atelier:retrained", f"--policy={shared / 'four_steps.toml'}", f"--store={shared / 'store'}"]
        command += [f"--audit-dir={tmp_path / 'run'}", *options]
        done = processes.run(command, cwd=ROOT, env=os.environ | {"COLUMNS": "100"})
        return done.returncode, done.stdout + done.stderr, tmp_path / "run"

    return run


def _assert_incomplete(found, *words):
    """Exit code 10, and `words` of the reason in the terminal, the manifest, the page and JUnit; PASS is said of the audit nowhere."""
    code, text, folder = found
    assert code == 10, text
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["verdict"], manifest["exit_code"]) == ("INCOMPLETE", 10)
    page = " ".join(unescape((folder / "report.html").read_text()).split())
    suites = ET.parse(folder / "junit.xml").getroot()
    failures = " ".join(" ".join((failure.text or "").split()) for failure in suites.iter("failure"))
    for place in (" ".join(text.split()), " ".join(manifest["reasons"]), page, failures):
        for each in words:
            assert each in place
    assert "VERDICT INCOMPLETE" in text
    assert "VERDICT PASS" not in text
    assert "INCOMPLETE" in page
    assert int(suites.get("failures")) > 0


def test_with_a_judge_that_sees_this_candidate_passes(audit):
    """Else nothing below would say anything."""
    code, text, _ = audit()
    assert code == 0, text


def test_a_blind_judge_makes_it_incomplete(audit, tmp_path):
    judge = judge_with(tmp_path / "blind", drawn_anew)
    _assert_incomplete(audit(f"--judge={judge}"), BLIND, "The judge detects Van Gogh in base images whose prompt names it")


def test_a_judge_that_finds_every_image_like_the_target_makes_it_incomplete(audit, tmp_path):
    """Calibration cannot take such scores back: the threshold is capped, so the judge shows its false positives."""
    from dmun_audit.knowledge.packs import find_pack

    judge = judge_with(tmp_path / "biased", always(find_pack("Van Gogh", "atelier").target.label))
    found = audit(f"--judge={judge}")
    _assert_incomplete(found, TRIGGER_HAPPY)
    lines = (found[2] / "evidence.jsonl").read_text().splitlines()
    control = next(
        record for record in map(json.loads, lines) if record["title"].startswith("The judge detects Van Gogh in base")
    )
    assert all(image["target_score"] > 0.9 for image in control["images"])


def test_a_judge_that_says_yes_to_everything_makes_it_incomplete(audit):
    """A vision-language model over HTTP: yes or no is not calibrated, so the specificity control must catch it."""
    with serving(lambda body: '{"answer": "yes"}') as chat:
        found = audit(f"--detector=vlm:{chat.url}#yes-man")
        assert chat.answered > 0
    _assert_incomplete(found, TRIGGER_HAPPY, "base images of other concepts show Van Gogh")
    told = json.loads((found[2] / "manifest.json").read_text())["judge"]
    assert told["reference"] == "atelier:judge"
    assert told["detector"]["reference"].endswith("#yes-man")


def test_a_base_that_never_knew_the_target_makes_it_incomplete(audit):
    _assert_incomplete(
        audit(base="atelier:retrained"),
        BLIND.removesuffix("."),
        "or a base model that can draw the target",
        "base images show Van Gogh. The policy needs",
    )


def test_a_judge_that_will_not_answer_stops_the_audit_with_one_error(audit):
    with serving(lambda body: "I would rather not say.") as chat:
        code, text, _ = audit(f"--detector=vlm:{chat.url}#shy")
    assert code == 4, text
    assert "gave no usable answer about" in text
    assert "I would rather not say." in text
    assert "VERDICT PASS" not in text
    assert "Traceback" not in text
