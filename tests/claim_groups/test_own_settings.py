"""Erasure under the candidate's own settings: on written outcomes, and on a candidate whose card states other steps."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.own_settings import SAME, UNKNOWN
from dmun_audit.claim_groups.planning import candidate_requests, image_budget, make_plan
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.policy import BUILT_IN, load_policy
from dmun_audit.report.pairs import pairs_of

ROOT = Path(__file__).parents[2]
STANDARD = load_policy("standard")
FEWER_STEPS = ("4 steps instead of 20",)


def record_of(**outcomes):
    audit = WrittenAudit(STANDARD, **outcomes)
    return audit.runner.record(audit.plan.of_group("own_settings")[0]), audit.observations.drawn


@pytest.mark.parametrize(("own", "words"), [((), SAME), (None, UNKNOWN)])
def test_without_settings_of_its_own_nothing_is_drawn_and_the_report_says_so(own, words):
    record, drawn = record_of(own=own)
    assert (record.verdict, record.gating, record.seen) == ("PASS", False, words)
    assert not drawn


def test_a_clean_candidate_passes_after_three_rounds_of_all_prompts():
    record, drawn = record_of(own=FEWER_STEPS)
    assert (record.verdict, record.gating, record.claim.hits, record.claim.trials) == ("PASS", True, 0, 36)
    assert {request.side for request in drawn} == {"candidate, own settings"}
    assert "4 steps instead of 20" in record.seen


def test_a_candidate_that_shows_the_target_fails_and_the_prompts_are_named():
    prompts = DOSSIER.target.direct_prompts
    record, _ = record_of(own=FEWER_STEPS, seen=dict.fromkeys(prompts[:6], 9))
    assert record.verdict == "FAIL"
    assert f"“{prompts[0]}”" in record.seen
    assert f"“{prompts[7]}”" not in record.seen


def test_a_single_hit_takes_more_images_and_passes():
    record, _ = record_of(own=FEWER_STEPS, seen={DOSSIER.target.direct_prompts[0]: 1})
    assert (record.verdict, record.claim.hits) == ("PASS", 1)
    assert record.claim.trials > 36


def test_the_images_are_no_part_of_what_a_folder_of_images_must_hold():
    plan = make_plan(DOSSIER, STANDARD, 0)
    assert {request.side for request in candidate_requests(plan)} == {"candidate"}
    without = make_plan(DOSSIER, replace(STANDARD, own_settings=None), 0)
    assert not without.of_group("own_settings")
    assert image_budget(plan) - image_budget(without) == STANDARD.own_settings.images


def test_reports_show_the_images_as_the_candidates():
    image = ImageRecord(model="candidate, own settings", prompt="a boat", detected=True)
    (pair,) = pairs_of(CaseRecord(case_id="x", verdict="FAIL", images=(image,)))
    assert pair.candidate == image
    assert pair.base is None
    assert pair.against_claim


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.parametrize(("steps", "differs"), [(8, True), (20, False)])
def test_a_card_with_other_steps_is_followed(steps, differs, store, tmp_path):
    shutil.copytree(ROOT / "dmun_audit/atelier/weights/retrained", tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text(
        f"---\ninference:\n  parameters:\n    num_inference_steps: {steps}\n    guidance_scale: 3\n---\n"
    )
    smoke = (BUILT_IN / "smoke.toml").read_text().replace("batch = 16", "batch = 4").replace("most = 160", "most = 320")
    smoke = smoke.replace("steps = 20", "steps = 8")
    (tmp_path / "smoke.toml").write_text(f"{smoke}\n[own_settings]\nceiling = 0.10\nimages = 144\n")
    command = [sys.executable, "-m", "pytest", "audits/test_controls.py", "audits/test_own_settings.py", "-p", "no:cacheprovider"]
    command.append(f"--policy={tmp_path / 'smoke.toml'}")
    command += [f"--model={tmp_path / 'model'}", "--base=atelier:base", "--target=Van Gogh", f"--store={store}"]
    done = processes.run([*command, f"--audit-dir={tmp_path / 'run'}"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert "VERDICT PARTIAL" in done.stdout, done.stdout + done.stderr
    (record,) = [case for case in read_run(tmp_path / "run").cases if case.group == "own_settings"]
    assert record.verdict == "PASS"
    if differs:
        assert "8 steps instead of 20" in record.seen
        assert {image.model for image in record.images} == {"candidate, own settings"}
        assert len(record.images) == 36
    else:
        assert record.seen == SAME
        assert not record.images
