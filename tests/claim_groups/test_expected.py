"""How many images an audit is likely to draw: what a clean candidate really draws on written outcomes."""

import pytest
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.expected import expected_images, expected_of
from dmun_audit.claim_groups.planning import image_budget, make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.policy import load_policy

POLICIES = ("smoke", "standard", "paper", "release", "open-weights")


@pytest.mark.parametrize("policy", POLICIES)
def test_it_is_never_more_than_the_budget(policy):
    plan = make_plan(DOSSIER, load_policy(policy), 0)
    assert 0 < expected_images(plan) <= image_budget(plan)


@pytest.mark.parametrize("policy", ["standard", "release"])
def test_claims_that_stop_early_make_it_much_less(policy):
    plan = make_plan(DOSSIER, load_policy(policy), 0)
    assert expected_images(plan) < image_budget(plan) / 2


@pytest.mark.parametrize("policy", ["smoke", "standard", "release"])
@pytest.mark.parametrize("name", ["erasure", "adversarial", "fresh", "unrelated"])
def test_a_clean_candidate_draws_about_as_many(policy, name):
    audit = WrittenAudit(load_policy(policy))
    cases = audit.plan.of_group(name)
    if not cases:
        pytest.skip(f"{policy} makes no claim on {name}")
    for control in audit.plan.of_group("controls"):
        audit.observations.draw(control.images)
    before = set(audit.observations.drawn)
    for case in cases:
        audit.runner.record(case)
    drawn = len(set(audit.observations.drawn) - before)
    expected = expected_of(claim_group(name), audit.plan)
    assert expected * 2 / 3 <= drawn <= expected * 3 / 2  # looks are about a batch apart


def test_groups_without_cases_draw_nothing():
    plan = make_plan(DOSSIER, load_policy("smoke"), 0)
    assert expected_of(claim_group("probes"), plan) == expected_of(claim_group("baseline"), plan) == 0
