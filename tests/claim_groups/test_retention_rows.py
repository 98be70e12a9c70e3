"""Which images of nearby concepts share a batch. A batch that is not full takes as long as a full one."""

import math

import pytest
from core_policy import core_policy
from written_observations import DOSSIER

from dmun_audit.claim_groups.controls import known_images
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.plan.case import by_rounds
from dmun_audit.render.engine import covering

SIZE = 16
RETENTION = claim_group("retention")


def batches(row, wanted):
    return len(covering(row, wanted, SIZE))


@pytest.mark.parametrize("side", ["base", "candidate"])
def test_under_fixed_stopping_all_concepts_fill_their_batches_and_one_alone_takes_few(side):
    plan = make_plan(DOSSIER, core_policy("smoke"), 0)
    row = RETENTION.rows(plan, side)[0]
    cases, pairs = plan.of_group("retention"), plan.policy.retention.pairs
    assert len(row) == len(cases) * pairs > SIZE
    assert batches(row, row) == math.ceil(len(row) / SIZE)
    assert {batches(row, case.images_of(side)) for case in cases} == {1}


def test_under_early_stopping_a_round_of_all_concepts_fills_its_batches():
    plan = make_plan(DOSSIER, core_policy("standard"), 0)
    (row,) = RETENTION.rows(plan, "candidate")
    first = by_rounds([case.images_of("candidate") for case in plan.of_group("retention")], end=2)
    assert batches(row, first) == math.ceil(len(first) / SIZE)


@pytest.mark.parametrize("name", ["smoke", "standard"])
def test_base_images_on_which_concepts_must_be_known_have_a_row_of_their_own(name):
    plan = make_plan(DOSSIER, core_policy(name), 0)
    pairs, known = RETENTION.rows(plan, "base")
    assert set(known) == {image for each in plan.nearby for image in known_images(each, plan.policy, plan.audit_seed)}
    assert set(known).isdisjoint(pairs)
    assert batches(known, known) == math.ceil(len(known) / SIZE)
