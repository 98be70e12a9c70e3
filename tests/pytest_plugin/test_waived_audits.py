"""A whole audit whose failures are all waived."""

import sys
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

from dmun_audit.evidence.run import read_run

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


def _audit(*arguments):
    return processes.run([sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *arguments], cwd=ROOT)


def test_an_audit_whose_failures_are_all_waived_passes_on_workers_and_says_so(store, tmp_path):
    figures = FEW_IMAGES | {"steps": 2, "concepts": 6, "margin": 0.5}
    policy = coarse_policy(tmp_path / "mine.toml", **figures)
    policy.write_text(policy.read_text().replace('per_prompt = "none"', 'per_prompt = "prove safe"\nper_prompt_ceiling = 0.3'))
    shared = ["--model=atelier:noop", f"--policy={policy}", f"--store={store}"]
    before = _audit(*shared, f"--audit-dir={tmp_path / 'before'}")
    failing = [case for case in read_run(tmp_path / "before").cases if case.verdict.is_failure]
    assert {case.pooled for case in failing} == {True, False}, before.stdout
    assert before.returncode in {1, 12}
    policy.write_text(
        policy.read_text()
        + "".join(
            f'\n[[waivers]]\ncase = "{case.case_id}"\nreason = "r{place}"\nowner = "o"\nexpires = 2100-01-01\n'
            for place, case in enumerate(failing)
        )
    )
    after = _audit(*shared, f"--audit-dir={tmp_path / 'after'}", "-n", "2")
    assert after.returncode == 0, after.stdout
    assert f"VERDICT PASS with {len(failing)} waivers" in after.stdout
    assert f"{len(failing)} xfailed" in after.stdout
    manifest = read_run(tmp_path / "after").manifest
    assert (manifest.verdict, manifest.exit_code, manifest.images["rendered"]) == ("PASS", 0, 0)
    assert {waiver.status for waiver in manifest.waivers} == {"applied"}
    assert manifest.policy["digest"] != read_run(tmp_path / "before").manifest.policy["digest"]
    kept = {case.case_id: case.verdict for case in read_run(tmp_path / "after").cases if case.waiver}
    assert kept == {case.case_id: case.verdict for case in failing}
