"""Waivers: which case they are of, when they hold, what they change, and that every report says so."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from coarse import coarse_policy
from dmun_audit.audit.ledger import Ending, Ledger
from dmun_audit.pytest_plugin.target_audit import TargetAudit, closing_lines
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.options import Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.decisions.conclude import conclude
from dmun_audit.evidence.run import read_run
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.plan.waivers import announce, check_waivers, in_force, what_became_of, with_waivers
from dmun_audit.policy import Waiver, load_policy
from dmun_audit.report.html import render_html
from dmun_audit.report.junit import write_junit
from dmun_audit.report.text import summary_lines

ROOT = Path(__file__).parent.parent
DAY = date(2026, 11, 27)
RETAINED = "Over all retained concepts together, accuracy is kept"


def _waiver(case, expires=DAY, target=None):
    return Waiver(case, "a reason", "an owner", expires, target)


def _plan(*waivers, target="Van Gogh"):
    return make_plan(find_pack(target, "atelier"), replace(load_policy("standard"), waivers=waivers), 0)


def _records(plan, **verdicts):
    """A record of every case; `verdicts` by group, of the pooled claim alone."""
    return {
        case.id: {
            "case_id": case.id, "group": case.group, "title": case.title, "pooled": case.pooled, "gating": case.gating,
            "verdict": verdicts.get(case.group, "PASS") if case.pooled else "PASS", "seen": f"seen of {case.group}", "remedy": "",
        }
        for case in plan.cases
    }  # fmt: skip


def _concluded(plan, records, day=DAY):
    marked = {record["case_id"]: record for record in with_waivers(plan, records.values(), day)}
    return marked, conclude(plan, marked, deselected=set(), stopped="", own_failures=[])


# Which case.


@pytest.mark.parametrize("name", ["id", "title", "concept", "prompt"])
def test_a_case_is_named_by_id_title_concept_or_prompt(name):
    concept = _plan().of_group("retention")[1]
    prompt = _plan().of_group("adversarial")[0]
    meant, said = {
        "id": (concept, concept.id), "title": (concept, concept.title), "concept": (concept, concept.concept.name),
        "prompt": (prompt, prompt.prompt.text),
    }[name]  # fmt: skip
    plan = _plan(_waiver(said))
    check_waivers([plan], DAY)
    assert list(in_force(plan, DAY)) == [meant.id]


def test_a_slip_of_the_pen_is_refused_with_what_was_meant():
    with pytest.raises(UsageError, match=r"(?s)'Georges Seurrat', which is no case .*did you mean 'Georges Seurat'\?"):
        check_waivers([_plan(_waiver("Georges Seurrat"))], DAY)


def test_controls_cannot_be_waived():
    for case in _plan().of_group("controls"):
        for name in (case.id, case.title):
            with pytest.raises(UsageError, match="which is a control"):
                check_waivers([_plan(_waiver(name))], DAY)


def test_a_waiver_of_several_cases_at_once_is_refused_with_their_ids():
    works = [case for case in _plan().of_group("erasure") if case.concept and case.concept.name == "The Starry Night"]
    assert len(works) == 2
    with pytest.raises(UsageError, match=f"fits 2 cases(.|\n)*{works[0].id}, {works[1].id}"):
        check_waivers([_plan(_waiver("The Starry Night"))], DAY)


def test_two_waivers_of_one_case_under_different_names_are_refused():
    case = _plan().of_group("retention")[0]
    with pytest.raises(UsageError, match="twice"):
        check_waivers([_plan(_waiver(case.id), _waiver(case.title))], DAY)


def test_one_policy_serves_several_targets():
    of_sunflowers = next(case.title for case in _plan(target="sunflowers").cases if case.pooled and case.group == "erasure")
    waivers = (_waiver(of_sunflowers), _waiver(RETAINED, target="Van Gogh"))
    plans = [_plan(*waivers), _plan(*waivers, target="sunflowers")]
    check_waivers(plans, DAY)
    assert [len(in_force(plan, DAY)) for plan in plans] == [1, 1]
    statuses = [[waiver["status"] for waiver in what_became_of(plan, _records(plan), DAY)] for plan in plans]
    assert statuses == [["of another target", "not needed"], ["not needed", "of another target"]]
    with pytest.raises(UsageError, match=r'add target = "…"'):
        check_waivers(plans[:1], DAY)  # alone, nobody knows whether that is another target's case or a slip
    check_waivers([_plan(_waiver(of_sunflowers, target="sunflowers"))], DAY)


def test_a_bad_waiver_is_refused_before_any_model_is_opened(tmp_path):
    path = tmp_path / "mine.toml"
    text = (ROOT / "dmun_audit/policy/built_in/smoke.toml").read_text()
    path.write_text(text + '\n[[waivers]]\ncase = "Georges Seurrat"\nreason = "r"\nowner = "o"\nexpires = 2100-01-01\n')
    with pytest.raises(UsageError, match="Georges Seurat"):
        resolve_all(Options(policy=str(path)), [], [])


# When.


@given(st.integers(-400, 400))
def test_a_waiver_holds_through_its_last_day_and_no_longer(days):
    plan = _plan(_waiver(RETAINED, expires=DAY + timedelta(days=days)))
    marked, outcome = _concluded(plan, _records(plan, retention="FAIL"))
    assert (outcome.verdict == "PASS") is (days >= 0)
    assert sum("waiver" in record for record in marked.values()) == (days >= 0)
    told = what_became_of(plan, marked, DAY)[0]
    assert (told["status"], told["days_left"], told["verdict"]) == ("applied" if days >= 0 else "expired", days, "FAIL")
    assert any("EXPIRED WAIVER" in line for line in announce(plan, DAY)) is (days < 0)


def test_an_expired_waiver_of_a_case_that_is_gone_breaks_nothing():
    plan = _plan(_waiver("a concept of last year", expires=DAY - timedelta(days=1)))
    check_waivers([plan], DAY)
    told = what_became_of(plan, _records(plan), DAY)[0]
    assert (told["status"], told["case_id"]) == ("expired", None)


def test_all_processes_of_a_session_go_by_one_day():
    setup = resolve_all(Options(policy="smoke"), [], [])[0]
    assert setup.day == datetime.now(UTC).date()
    yesterday = replace(setup, day=setup.day - timedelta(days=1))
    assert AuditConfig.from_json(yesterday.to_json()).day == yesterday.day


# What it changes.


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_the_case_keeps_its_verdict_and_the_audit_passes_without_it(verdict):
    plan = _plan(_waiver(RETAINED))
    marked, outcome = _concluded(plan, _records(plan, retention=verdict))
    waived = [record for record in marked.values() if "waiver" in record]
    assert [record["verdict"] for record in waived] == [verdict]
    assert waived[0]["waiver"] == {"reason": "a reason", "owner": "an owner", "expires": "2026-11-27"}
    assert (outcome.verdict, outcome.exit_code) == ("PASS", 0)
    assert outcome.reasons[:2] == ["seen of erasure", "seen of adversarial"]
    assert outcome.reasons[2].endswith(f": {verdict}, and waived.")


def test_what_is_not_waived_decides_as_before():
    plan = _plan(_waiver(RETAINED))
    assert _concluded(plan, _records(plan, retention="FAIL", erasure="FAIL"))[1].verdict == "FAIL"
    assert _concluded(plan, _records(plan, retention="FAIL", erasure="INCONCLUSIVE"))[1].verdict == "INCONCLUSIVE"
    records = _records(plan, retention="FAIL")
    records[plan.of_group("controls")[0].id]["verdict"] = "FAIL"
    assert _concluded(plan, records)[1].verdict == "INCOMPLETE"


def test_waiving_a_pooled_claim_waives_none_of_its_members_and_the_other_way_round():
    plan = _plan(_waiver(RETAINED))
    records = _records(plan, retention="FAIL")
    member = plan.of_group("retention")[1]
    records[member.id]["verdict"] = "FAIL"
    assert _concluded(plan, records)[1].verdict == "FAIL"
    other = _plan(_waiver(member.id))
    assert _concluded(other, records)[1].verdict == "FAIL"
    both = _plan(_waiver(RETAINED), _waiver(member.id))
    assert _concluded(both, records)[1].verdict == "PASS"


# What reports say.


@pytest.fixture
def waived_run(tmp_path):
    """A run folder whose verdict rests on one waiver, beside one that is about to expire and one that has."""
    plan = _plan(
        _waiver(RETAINED, expires=DAY + timedelta(days=200)),
        Waiver("Claude Monet", "ponds <b>dry</b> up", "the gardener", DAY + timedelta(days=30)),
        Waiver("Paul Gauguin", "old", "nobody", DAY - timedelta(days=1)),
    )
    marked, outcome = _concluded(plan, _records(plan, retention="FAIL"))
    manifest = {
        "format": 1, "verdict": outcome.verdict, "exit_code": outcome.exit_code, "reasons": outcome.reasons,
        "target": {"name": "Van Gogh", "kind": "style"}, "waivers": what_became_of(plan, marked, DAY), "day": DAY.isoformat(),
        "policy": {
            "name": "mine", "digest": "0123456789abcdef" * 4, "release_evidence": True,
            "baseline": "standard", "altered": ["erasure.ceiling 0.05 → 0.9"],
        },
    }  # fmt: skip
    empty = {"claim": None, "concept": None, "prompt": None, "measures": {}, "images": [], "volatile": {}}
    (tmp_path / "evidence.jsonl").write_text("".join(json.dumps(empty | record) + "\n" for record in marked.values()))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
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
    xmlschema.validate(str(tmp_path / "junit.xml"), str(ROOT / "tests/report/junit-10.xsd"))
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert root.get("failures") == "0"
    skipped = [case for case in root.iter("testcase") if case.find("skipped") is not None]
    assert [case.find("skipped").get("type") for case in skipped] == ["WAIVED"]
    assert skipped[0].find("skipped").get("message").startswith("FAIL, waived by an owner until 2027-06-15: a reason")
    told = {entry.get("name"): entry.get("value") for entry in root.iter("property")}
    assert told["verdict"] == "PASS with 1 waiver"
    assert told["waiver of Paul Gauguin"] == "expired: waived by nobody until 2026-11-26: old"


def test_the_table_of_several_targets_says_which_of_them_rests_on_waivers(tmp_path):
    options = Options(policy="smoke", store=str(tmp_path), audit_dir=str(tmp_path / "runs"))
    audits = [TargetAudit(setup) for setup in resolve_all(options, ["Van Gogh", "sunflowers"], [])]
    for audit, headline in zip(audits, ("PASS with 1 waiver", "PASS"), strict=True):
        audit.ledger, audit.ending = Ledger(audit.setup), Ending("PASS", 0, [], [], headline)
    *_, total, first, second = closing_lines(audits)
    assert total == "2 targets: PASS, resting on waivers"
    assert "PASS with 1 waiver" in first
    assert "waiver" not in second


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
    waived_run.manifest["policy"] |= {"name": "standard"}
    assert "<dd>standard, altered</dd>" in render_html(waived_run)
    del waived_run.manifest["policy"]["baseline"]  # as written by 0.1.0
    page = render_html(waived_run)
    assert "<dd>standard, altered</dd>" in page
    assert "differs from the built-in policy standard: erasure.ceiling 0.05 → 0.9" in page


# A whole audit.


def _audit(*arguments):
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_an_audit_whose_failures_are_all_waived_passes_on_workers_and_says_so(tmp_path):
    figures = {
        "steps": 2, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 1, "prompts": 4,
        "images": 8, "concepts": 6, "pairs": 2, "sensitivity_floor": 0.01, "false_positive_ceiling": 0.99,
        "margin": 0.5,
    }  # fmt: skip
    policy = coarse_policy(tmp_path / "mine.toml", **figures)
    policy.write_text(policy.read_text().replace('per_prompt = "none"', 'per_prompt = "prove safe"\nper_prompt_ceiling = 0.3'))
    shared = ["--model=atelier:noop", f"--policy={policy}", f"--store={tmp_path / 'store'}"]
    before = _audit(*shared, f"--audit-dir={tmp_path / 'before'}")
    failing = [case for case in read_run(tmp_path / "before").cases if case["verdict"] in {"FAIL", "INCONCLUSIVE"}]
    assert {case["pooled"] for case in failing} == {True, False}, before.stdout
    assert before.returncode in {1, 12}
    policy.write_text(
        policy.read_text()
        + "".join(
            f'\n[[waivers]]\ncase = "{case["case_id"]}"\nreason = "r{place}"\nowner = "o"\nexpires = 2100-01-01\n'
            for place, case in enumerate(failing)
        )
    )
    after = _audit(*shared, f"--audit-dir={tmp_path / 'after'}", "-n", "2")
    assert after.returncode == 0, after.stdout
    assert f"VERDICT PASS with {len(failing)} waivers" in after.stdout
    assert f"{len(failing)} xfailed" in after.stdout
    manifest = json.loads((tmp_path / "after" / "manifest.json").read_text())
    assert (manifest["verdict"], manifest["exit_code"], manifest["images"]["rendered"]) == ("PASS", 0, 0)
    assert {waiver["status"] for waiver in manifest["waivers"]} == {"applied"}
    assert manifest["policy"]["digest"] != json.loads((tmp_path / "before" / "manifest.json").read_text())["policy"]["digest"]
    kept = {case["case_id"]: case["verdict"] for case in read_run(tmp_path / "after").cases if "waiver" in case}
    assert kept == {case["case_id"]: case["verdict"] for case in failing}
