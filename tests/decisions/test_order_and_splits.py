"""What must hold for all outcomes: neither the order of cases nor how images are split over them changes a pooled claim."""

from dataclasses import replace

import pytest
from case_records import measured, record_of
from core_policy import core_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import Rules
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.verdict.vocabulary import Stopping

FEW = settings(database=None, deadline=None, derandomize=True, max_examples=25)
PLAN = make_plan(find_pack("Van Gogh", "atelier"), core_policy("standard"), 0)
FIXED = replace(
    PLAN.policy,
    erasure=replace(PLAN.policy.erasure, stopping=Stopping.FIXED),
    adversarial=replace(PLAN.policy.adversarial, stopping=Stopping.FIXED),
    retention=replace(PLAN.policy.retention, stopping=Stopping.FIXED),
)
POLICIES = pytest.mark.parametrize("policy", [FIXED, PLAN.policy], ids=["fixed", "early"])


def split(random, outcomes):
    """`outcomes` in random order, cut into parts of random length."""
    left, parts = random.sample(outcomes, len(outcomes)), []
    while left:
        size = random.randint(1, len(left))
        parts.append(left[:size])
        left = left[size:]
    return parts


@pytest.mark.parametrize(
    ("name", "rule"), [("erasure", "bound"), ("adversarial", "bound"), ("retention", "bound"), ("retention", "score")]
)
@given(outcomes=st.lists(st.sampled_from([0, 0, 0, 1]), min_size=1, max_size=200), random=st.randoms(use_true_random=False))
@FEW
def test_how_images_are_split_over_cases_never_matters_at_fixed_n(name, rule, outcomes, random):
    rules = Rules(make_plan(PLAN.dossier, replace(FIXED, retention=replace(FIXED.retention, rule=rule)), 0))
    group = claim_group(name)
    assert rules.decide_group(group, [outcomes]) == rules.decide_group(group, split(random, outcomes))


@pytest.mark.slow
@POLICIES
@given(st.randoms(use_true_random=False), st.floats(0.0, 0.3))
@FEW
def test_the_order_in_which_cases_report_never_matters_to_a_pooled_claim(policy, random, rate):
    plan = make_plan(PLAN.dossier, policy, 0)
    cases = [*plan.of_group("erasure"), *plan.of_group("retention")]
    records = {case.id: _with_outcomes(plan, case, [int(random.random() < rate) for _ in range(16)]) for case in cases}
    shuffled = dict(random.sample(list(records.items()), len(records)))
    pooled = pooled_records(plan, records)
    assert {record.group for record in pooled} == {"erasure", "retention"}
    assert pooled_records(plan, shuffled) == pooled


def _with_outcomes(plan, case, outcomes):
    hits = sum(outcomes)
    record = measured(record_of(plan, case), kid_paired=float(hits))
    return record.with_claim(hits=hits, gains=0, trials=len(outcomes), outcomes=tuple(outcomes))
