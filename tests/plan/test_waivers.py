"""Waivers: which case they are of, and when they hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waived_plans import DAY, RETAINED, concluded, plan_with, records_of, waiver_of

from dmun_audit._util.errors import UsageError
from dmun_audit.config.resolve import AuditConfig, Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.plan.waivers import announce, check_waivers, in_force, what_became_of

ROOT = Path(__file__).parents[2]


# Which case.


@pytest.mark.parametrize("name", ["id", "title", "concept", "prompt"])
def test_a_case_is_named_by_id_title_concept_or_prompt(name):
    concept = plan_with().of_group("retention")[1]
    prompt = plan_with().of_group("adversarial")[0]
    meant, name = {
        "id": (concept, concept.id), "title": (concept, concept.title), "concept": (concept, concept.concept.name),
        "prompt": (prompt, prompt.prompt.text),
    }[name]  # fmt: skip
    plan = plan_with(waiver_of(name))
    check_waivers([plan], DAY)
    assert list(in_force(plan, DAY)) == [meant.id]


def test_a_slip_of_the_pen_is_refused_with_what_was_meant():
    with pytest.raises(UsageError, match=r"(?s)'Georges Seurrat', which is no case .*did you mean 'Georges Seurat'\?"):
        check_waivers([plan_with(waiver_of("Georges Seurrat"))], DAY)


def test_controls_cannot_be_waived():
    for case in plan_with().of_group("controls"):
        for name in (case.id, case.title):
            with pytest.raises(UsageError, match="which is a control"):
                check_waivers([plan_with(waiver_of(name))], DAY)


def test_a_waiver_of_several_cases_at_once_is_refused_with_their_ids():
    works = [case for case in plan_with().of_group("erasure") if case.concept and case.concept.name == "The Starry Night"]
    assert len(works) == 2
    with pytest.raises(UsageError, match=f"fits 2 cases(.|\n)*{works[0].id}, {works[1].id}"):
        check_waivers([plan_with(waiver_of("The Starry Night"))], DAY)


def test_two_waivers_of_one_case_under_different_names_are_refused():
    case = plan_with().of_group("retention")[0]
    with pytest.raises(UsageError, match="twice"):
        check_waivers([plan_with(waiver_of(case.id), waiver_of(case.title))], DAY)


def test_one_policy_serves_several_targets():
    of_sunflowers = next(case.title for case in plan_with(target="sunflowers").cases if case.pooled and case.group == "erasure")
    waivers = (waiver_of(of_sunflowers), waiver_of(RETAINED, target="Van Gogh"))
    plans = [plan_with(*waivers), plan_with(*waivers, target="sunflowers")]
    check_waivers(plans, DAY)
    assert [len(in_force(plan, DAY)) for plan in plans] == [1, 1]
    statuses = [[waiver.status for waiver in what_became_of(plan, records_of(plan), DAY)] for plan in plans]
    assert statuses == [["of another target", "not needed"], ["not needed", "of another target"]]
    with pytest.raises(UsageError, match=r'add target = "…"'):
        check_waivers(plans[:1], DAY)  # alone, nobody knows whether that is another target's case or a slip
    check_waivers([plan_with(waiver_of(of_sunflowers, target="sunflowers"))], DAY)


def test_a_bad_waiver_is_refused_before_any_model_is_opened(tmp_path):
    path = tmp_path / "mine.toml"
    text = (ROOT / "dmun_audit/policy/built_in/smoke.toml").read_text()
    path.write_text(text + '\n[[waivers]]\ncase = "Georges Seurrat"\nreason = "r"\nowner = "o"\nexpires = 2100-01-01\n')
    with pytest.raises(UsageError, match="Georges Seurat"):
        resolve_all(Options(policy=str(path)), [], [])


# When.


@given(st.integers(-400, 400))
def test_a_waiver_holds_through_its_last_day_and_no_longer(days):
    plan = plan_with(waiver_of(RETAINED, expires=DAY + timedelta(days=days)))
    marked, outcome = concluded(plan, records_of(plan, retention="FAIL"))
    assert (outcome.verdict == "PASS") is (days >= 0)
    assert sum(record.is_waived for record in marked.values()) == (days >= 0)
    waiver = what_became_of(plan, marked, DAY)[0]
    assert (waiver.status, waiver.days_left, waiver.verdict) == ("applied" if days >= 0 else "expired", days, "FAIL")
    assert any("EXPIRED WAIVER" in line for line in announce(plan, DAY)) is (days < 0)


def test_an_expired_waiver_of_a_case_that_is_gone_breaks_nothing():
    plan = plan_with(waiver_of("a concept of last year", expires=DAY - timedelta(days=1)))
    check_waivers([plan], DAY)
    waiver = what_became_of(plan, records_of(plan), DAY)[0]
    assert (waiver.status, waiver.case_id) == ("expired", None)


def test_all_processes_of_a_session_go_by_one_day():
    config = resolve_all(Options(policy="smoke"), [], [])[0]
    assert config.day == datetime.now(UTC).date()
    yesterday = replace(config, day=config.day - timedelta(days=1))
    assert AuditConfig.from_json(yesterday.to_json()).day == yesterday.day
