"""What reports say of waivers: on the verdict line, at the case, in JUnit, near the top of the page."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from waived_plans import DAY, RETAINED, concluded, plan_with, records_of, waiver_of

from dmun_audit.config.resolve import Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.run import read_run
from dmun_audit.plan.waivers import waiver_statuses
from dmun_audit.policy import Waiver
from dmun_audit.pytest_plugin.target_tests import TargetTests, closing_lines
from dmun_audit.report.html import render_html
from dmun_audit.report.junit import write_junit
from dmun_audit.report.text import summary_lines

SCHEMA = Path(__file__).parent / "junit-10.xsd"


@pytest.fixture
def waived_run(tmp_path):
    """A run folder whose verdict rests on one waiver, beside one that is about to expire and one that has."""
    plan = plan_with(
        waiver_of(RETAINED, expires=DAY + timedelta(days=200)),
        Waiver("Claude Monet", "ponds <b>dry</b> up", "the gardener", DAY + timedelta(days=30)),
        Waiver("Paul Gauguin", "old", "nobody", DAY - timedelta(days=1)),
    )
    marked, outcome = concluded(plan, records_of(plan, retention="FAIL"))
    manifest = Manifest.model_validate(
        {
            "verdict": outcome.verdict, "exit_code": outcome.verdict.exit_code, "reasons": outcome.reasons,
            "target": {"name": "Van Gogh", "kind": "style"}, "waivers": waiver_statuses(plan, marked, DAY), "day": DAY.isoformat(),
            "policy": {
                "name": "mine", "digest": "0123456789abcdef" * 4, "release_evidence": True,
                "baseline": "standard", "altered": ["erasure.ceiling 0.05 → 0.9"],
            },
        }
    )  # fmt: skip
    (tmp_path / "evidence.jsonl").write_text("".join(json.dumps(record.to_json()) + "\n" for record in marked.values()))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return read_run(tmp_path)


def test_the_terminal_says_on_its_verdict_line_that_it_rests_on_a_waiver(waived_run):
    text = " ".join(" ".join(summary_lines(waived_run)).split())
    assert "VERDICT PASS with 1 waiver" in text
    assert f"FAIL (waived) {RETAINED}" in text
    assert f"waiver: {RETAINED}: FAIL, waived by an owner until 2027-06-15: a reason" in text
    assert "warning: The waiver of “Claude Monet is retained” (owner: the gardener) expires in 30 days, 2026-12-27." in text
    assert "WARNING: The waiver of “Paul Gauguin is retained” (owner: nobody) expired" in text
    assert waived_run.verdict == "PASS"


def test_junit_neither_fails_nor_passes_a_waived_case(waived_run, tmp_path):
    write_junit(waived_run, tmp_path / "junit.xml")
    xmlschema.validate(str(tmp_path / "junit.xml"), str(SCHEMA))
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert root.get("failures") == "0"
    skipped = [case for case in root.iter("testcase") if case.find("skipped") is not None]
    assert [case.find("skipped").get("type") for case in skipped] == ["WAIVED"]
    assert skipped[0].find("skipped").get("message").startswith("FAIL, waived by an owner until 2027-06-15: a reason")
    properties = {entry.get("name"): entry.get("value") for entry in root.iter("property")}
    assert properties["verdict"] == "PASS with 1 waiver"
    assert properties["waiver of Paul Gauguin"] == "expired: waived by nobody until 2026-11-26: old"


def test_the_table_of_several_targets_says_which_of_them_rests_on_waivers(waived_run, tmp_path):
    options = Options(policy="smoke", store=str(tmp_path), audit_dir=str(tmp_path / "runs"))
    first, second = tests = [TargetTests(config) for config in resolve_all(options, ["Van Gogh", "sunflowers"], [])]
    first.audit.run = waived_run
    second.audit.run = replace(waived_run, cases=tuple(case.with_(waiver=None) for case in waived_run.cases))
    *_, total, of_first, of_second = closing_lines(tests)
    assert total == "2 targets: PASS with waivers"
    assert "PASS with 1 waiver" in of_first
    assert "waiver" not in of_second


def test_the_page_lists_waivers_near_its_top_and_marks_the_case(waived_run):
    page = render_html(waived_run)
    assert "PASS with 1 waiver</h2>" in page
    assert "Every gating claim that is not waived is proven" in page
    assert page.index('id="waivers"') < page.index('id="summary"')
    section = page[page.index('id="waivers"') : page.index('id="audited"')]
    for said in ("applied", "not needed", "expired", "a reason", "the gardener", "2026-11-26", "ponds &lt;b&gt;dry&lt;/b&gt; up"):
        assert said in section
    case = page[page.index('<details class="case" id="all-retained') :]
    assert "WAIVED" in case[: case.index("</summary>")]
    assert "FAIL, waived by an owner until 2027-06-15: a reason" in case[: case.index("</details>")]
    assert "0123456789ab" in page  # the policy's digest
    assert "<dd>mine</dd>" in page
    assert "differs from the built-in policy standard: erasure.ceiling 0.05 → 0.9" in page


def test_the_page_says_that_a_policy_with_a_built_in_name_is_altered(waived_run):
    policy = waived_run.manifest.policy | {"name": "standard"}
    assert "<dd>standard, altered</dd>" in render_html(_with_policy(waived_run, policy))
    del policy["baseline"]  # as written by 0.1.0
    page = render_html(_with_policy(waived_run, policy))
    assert "<dd>standard, altered</dd>" in page
    assert "differs from the built-in policy standard: erasure.ceiling 0.05 → 0.9" in page


def _with_policy(run, policy):
    return replace(run, manifest=run.manifest.model_copy(update={"policy": policy}))
