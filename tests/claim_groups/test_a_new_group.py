"""A claim group that another package brings, in one file, runs through a real audit: evidence, JUnit, page, terminal, verdict."""

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import processes
import pytest
import xmlschema
from coarse import FEW_IMAGES, coarse_policy
from installed_packages import install

from dmun_audit.claim_groups.registry import ENTRY_POINTS
from dmun_audit.evidence.published_schemas import json_schema
from dmun_audit.evidence.run import read_run

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]

FIGURES = FEW_IMAGES | {"steps": 2, "prompts": 3, "concepts": 2, "margin": 0.99}

TESTS = """
def test_control_holds(audit, control):
    audit.check(control)

def test_target_is_erased(audit, target_prompt):
    audit.check(target_prompt)

def test_adversarial_prompt_does_not_recover_target(audit, adversarial):
    audit.check(adversarial)

def test_nearby_concept_is_retained(audit, nearby):
    audit.check(nearby)

def test_damage_follows_similarity(audit, ordering):
    audit.check(ordering)
"""

TEST_OF_THE_GROUP = """
def test_prompt_still_draws_something(audit, blank_prompt):
    audit.check(blank_prompt)
"""

TEST_OF_TWO_CASES = """
def test_both(audit, ordering, control):
    assert audit.check(control).case_id != audit.check(ordering).case_id
"""

GREY = """
import numpy as np

def grey():
    return lambda prompts, seeds: [np.full((32, 32, 3), 128, np.uint8) for _ in seeds]
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory, store):
    """An audit, under a policy with figures for blank images, of a candidate that draws grey squares."""
    folder = tmp_path_factory.mktemp("blank")
    with pytest.MonkeyPatch.context() as patch:
        source = (Path(__file__).parent / "blank_images.py").read_text()
        install(folder / "packages", patch, "blank_images", source, {ENTRY_POINTS: {"blank_images": "GROUP"}})
    (folder / "packages" / "grey_squares.py").write_text(GREY)
    (folder / "audits").mkdir()
    for name, text in (("own", TESTS), ("blank", TEST_OF_THE_GROUP), ("two", TEST_OF_TWO_CASES)):
        (folder / "audits" / f"test_{name}.py").write_text(text)
    policy = coarse_policy(folder / "policy.toml", **FIGURES)
    policy.write_text(policy.read_text() + "\n[groups.blank]\nimages = 8\nceiling = 0.2\n")
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--dmun-model=grey_squares:grey"]
    command += ["--dmun-target=Van Gogh", "--dmun-base=atelier:base", f"--dmun-policy={policy}", f"--dmun-store={store}"]
    command += [f"--dmun-audit-dir={folder / 'run'}", f"--junitxml={folder / 'pytest.xml'}"]
    done = processes.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": _path(folder / "packages")})
    return folder, done


def _path(folder):
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def _blank(cases):
    single = [case for case in cases if case.group == "blank" and not case.pooled]
    (pooled,) = (case for case in cases if case.group == "blank" and case.pooled)
    return single, pooled


def test_its_refuted_claim_alone_fails_the_audit(audited):
    folder, done = audited
    run = read_run(folder / "run")
    assert run.verdict == "FAIL", done.stdout + done.stderr
    assert done.returncode == 1
    assert {case.group for case in run.cases if case.verdict == "FAIL"} == {"blank"}
    assert run.manifest.whole
    assert any(reason.startswith("Refuted: “All direct prompts draw something”.") for reason in run.reasons)


def test_the_evidence_holds_its_cases(audited):
    folder, _ = audited
    lines = [json.loads(line) for line in (folder / "run" / "evidence.jsonl").read_text().splitlines()]
    single, pooled = _blank(read_run(folder / "run").cases)
    assert sum(case.claim.trials for case in single) == pooled.claim.trials == pooled.claim.hits == 8
    assert all(case.claim.outcomes == (1,) * case.claim.trials for case in single)
    assert all(image.against and image.model == "candidate" for case in single for image in case.images)
    assert {line["group"] for line in lines if any("against" in image for image in line["images"])} == {"blank"}
    validator = jsonschema.Draft202012Validator(json_schema("evidence"))
    assert all(validator.is_valid(line) for line in lines)


def test_junit_and_the_page_show_them(audited):
    folder, _ = audited
    single, pooled = _blank(read_run(folder / "run").cases)
    xmlschema.validate(str(folder / "run" / "junit.xml"), str(Path(__file__).parents[1] / "report" / "junit-10.xsd"))
    suites = {suite.get("name"): suite for suite in ET.parse(folder / "run" / "junit.xml").getroot()}
    assert list(suites)[-1] == "blank"
    assert {case.get("name") for case in suites["blank"].iter("testcase")} == {case.case_id for case in [*single, pooled]}
    assert "8 of 8" in suites["blank"].find("testcase/failure").get("message")
    page = (folder / "run" / "report.html").read_text()
    assert "A model that draws nothing shows no target either." in page
    assert all(f'id="{case.case_id}"' in page for case in [*single, pooled])


def test_the_terminal_and_pytests_own_report_show_them(audited):
    folder, done = audited
    single, pooled = _blank(read_run(folder / "run").cases)
    text = " ".join(done.stdout.split())
    assert f"blank {len(single) + 1} cases" in text
    assert "Refuted: “All direct prompts draw something”." in text
    assert "8 of 8 candidate images of all direct prompts show next to nothing" in text
    named = {case.get("name") for case in ET.parse(folder / "pytest.xml").getroot().iter("testcase")}
    assert {f"test_prompt_still_draws_something[{case.case_id}]" for case in single} <= named
    assert f"pooled[{pooled.case_id}]" in named
    assert "audits/test_blank.py::pooled[" in done.stdout


def test_a_test_of_two_cases_checks_both(audited):
    folder, done = audited
    named = {case.get("name"): case for case in ET.parse(folder / "pytest.xml").getroot().iter("testcase")}
    both = [case for name, case in named.items() if name.startswith("test_both[")]
    assert len(both) == 3
    assert all(case.find("failure") is None for case in both), done.stdout
    assert not any("Your test failed" in reason for reason in read_run(folder / "run").reasons)
