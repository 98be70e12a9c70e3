"""The plan: stable, exact in its numbers, with seeds that are disjoint where they must be."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from core_policy import core_policy

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.adversarial import TEST_INDEX
from dmun_audit.claim_groups.controls import calibration_images, specificity_images
from dmun_audit.claim_groups.planning import candidate_requests, image_budget, make_plan
from dmun_audit.claim_groups.retention import base_of
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.plan.case import requests_for
from dmun_audit.policy import load_policy


@pytest.fixture(scope="module")
def dossier():
    return find_pack("Van Gogh", "atelier")


@pytest.fixture(scope="module")
def plan(dossier):
    return make_plan(dossier, core_policy("standard"), 0)


@pytest.mark.parametrize("name", ["smoke", "standard"])
def test_the_budget_is_the_policys(dossier, name):
    policy = load_policy(name)

    assert not dossier.compositions
    spare = 2 * policy.composition.prompts * policy.composition.pairs if policy.composition else 0
    assert 0.95 * policy.images_at_most <= image_budget(make_plan(dossier, policy, 0)) + spare <= policy.images_at_most


def test_groups_have_the_sizes_of_the_policy(plan):
    count = {group: len(plan.of_group(group)) for group in ("controls", "erasure", "adversarial", "retention")}
    assert count == {"controls": 4, "erasure": 16, "adversarial": 20, "retention": 10}
    assert sum(len(case.images) for case in plan.of_group("erasure")) == 384
    assert {len(case.images) for case in plan.of_group("erasure")} == {24}
    assert {len(case.images) for case in plan.of_group("retention")} == {
        24 + 8 + 24
    }  # base and candidate of the pairs, and the base images that show whether base knows it


def test_ids_are_unique_ascii_and_equal_in_another_process(dossier):
    ids = [case.id for case in make_plan(dossier, load_policy("standard"), 0).cases]
    assert len(set(ids)) == len(ids)
    assert all(case_id.isascii() and "[" not in case_id for case_id in ids)
    script = (
        "import json; from dmun_audit.claim_groups.planning import make_plan; from dmun_audit.policy import load_policy;"
        "from dmun_audit.knowledge.packs import find_pack;"
        "print(json.dumps([c.id for c in make_plan(find_pack('Van Gogh','atelier'), load_policy('standard'), 0).cases]))"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == ids


def test_base_and_candidate_share_seeds_pair_by_pair(plan):
    for case in plan.of_group("retention"):
        base, candidate = case.images_of("base"), case.images_of("candidate")
        assert base_of(candidate) == list(base[: len(candidate)])
        known = {request.seed for request in base[len(candidate) :]}
        assert known
        assert not known & {request.seed for request in candidate}


def test_seeds_are_distinct_and_change_with_the_audit_seed(dossier, plan):
    seeds = {(r.prompt, r.index): r.seed for case in plan.cases for r in case.images}
    assert len(set(seeds.values())) == len(seeds)
    other = make_plan(dossier, core_policy("standard"), 1)
    assert not set(seeds.values()) & {r.seed for case in other.cases for r in case.images}


def test_validation_and_test_seeds_are_disjoint(plan):
    validity = next(case for case in plan.cases if case.kind == "validity")
    assert max(request.index for request in validity.images) < TEST_INDEX


def test_calibration_and_specificity_share_no_image(dossier, plan):
    nearby = [case.concept for case in plan.of_group("retention")]
    calibration = set(calibration_images(plan.policy, nearby, 0))
    specificity = set(specificity_images(plan.policy, nearby, 0))
    assert calibration
    assert not calibration & specificity
    parents = {prompt for concept in nearby if concept.may_contain_target for prompt in concept.prompts}
    assert parents
    assert not parents & {request.prompt for request in calibration | specificity}


def test_the_error_budget_is_divided_by_the_planned_gating_claims(plan):
    # 16 direct prompts, 20 adversarial prompts, 9 retained concepts and 3 pooled claims
    assert plan.refutations == 48
    assert plan.alpha_fail == pytest.approx(0.05 / 48)


def test_uneven_counts_differ_by_one_at_most():
    made = requests_for("base", ["a", "b", "c"], 8, 0)
    counts = [sum(request.prompt == prompt for request in made) for prompt in "abc"]
    assert sorted(counts) == [2, 3, 3]


def test_a_dossier_that_is_too_thin_is_refused(dossier):
    thin = dossier.model_copy(update={"adversarial": dossier.adversarial[:3]})
    with pytest.raises(UsageError, match="needs at least 8"):
        make_plan(thin, core_policy("standard"), 0)


def test_a_budget_that_is_too_small_is_refused(dossier):
    with pytest.raises(UsageError, match="allows 700"):
        make_plan(dossier, replace(core_policy("standard"), images_at_most=700), 0)


def test_every_case_says_of_which_target_it_is(plan):
    assert {case.target for case in plan.cases} == {"Van Gogh"}


def test_a_plan_is_the_same_each_time_and_its_digest_says_where_it_is_not(dossier, plan):
    assert make_plan(dossier, core_policy("standard"), 0) == plan
    others = [make_plan(dossier, core_policy("standard"), 1), make_plan(dossier, core_policy("smoke"), 0)]
    assert len({plan.digest(), *(other.digest() for other in others)}) == 3


def test_pooled_cases_follow_those_of_their_group(plan):
    for group in ("erasure", "adversarial", "retention"):
        pooled = [case.pooled for case in plan.cases if case.group == group]
        assert pooled == [False] * (len(pooled) - 1) + [True]


def test_every_candidate_image_that_may_be_asked_for_is_listed_once(plan):
    requests = candidate_requests(plan)
    assert len(set(requests)) == len(requests)
    assert {request.side for request in requests} == {"candidate"}
    planned = {request for case in plan.cases for request in case.images_of("candidate")}
    assert planned <= set(requests)
    test_images = [request for request in requests if request.index >= TEST_INDEX]
    assert {request.prompt for request in test_images} == {case.prompt.text for case in plan.of_group("adversarial")}
