"""P-values after Holm: over which claims they are adjusted, and that no record is changed in place."""

import pytest
from case_records import measured, records_of
from core_policy import core_policy

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.verdict.vocabulary import Verdict

PLAN = make_plan(find_pack("Van Gogh", "atelier"), core_policy("standard"), 0)


def test_holm_counts_only_claims_that_can_refute_and_never_lowers_a_p_value():
    records = with_holm(records_of(PLAN, erasure=3).values())
    assert any(record.claim.holm is not None for record in records)
    for record in records:
        if record.claim.holm is not None:
            assert record.claim.holm >= record.claim.p_refuted
        if record.group == "controls":
            assert record.claim.holm is None


def test_damage_is_named_with_a_p_value_adjusted_over_all_concepts():
    records = records_of(PLAN)
    concepts = PLAN.of_group("retention")
    for place, case in enumerate(concepts):
        records[case.id] = measured(records[case.id], kid_p_value=0.04 if place else 0.001)
    adjusted = {record.case_id: record.measures for record in with_holm(records.values())}
    assert adjusted[concepts[0].id]["kid_p_holm"] == pytest.approx(0.001 * len(concepts))
    assert all(adjusted[case.id]["kid_p_holm"] == pytest.approx(0.04 * (len(concepts) - 1)) for case in concepts[1:])
    assert not any("kid_p_holm" in record.measures for record in records.values())
    for case in concepts:
        records[case.id] = measured(records[case.id], cmmd_p_value=0.9)
    adjusted = {record.case_id: record.measures for record in with_holm(records.values())}
    assert adjusted[concepts[0].id]["kid_p_holm"] == pytest.approx(0.001 * 2 * len(concepts))
    assert adjusted[concepts[0].id]["cmmd_p_holm"] == 1.0


def test_hits_of_invalid_prompts_are_weighed_against_what_the_judge_imagines():
    records = records_of(PLAN)
    invalid = PLAN.of_group("adversarial")[:4]
    for place, case in enumerate(invalid):
        claim = ClaimRecord(kind="rate_at_most", hits=int(place == 0), trials=1, threshold=0.1)
        records[case.id] = records[case.id].with_(verdict=Verdict.VACUOUS, claim=claim)
    adjusted = {record.case_id: record for record in with_holm(records.values())}
    claims = [adjusted[case.id].claim for case in invalid]
    control = records[PLAN.of_kind("specificity").id]
    assert claims[0].p_imagined == pytest.approx(control.claim.upper)
    assert claims[0].holm == pytest.approx(4 * control.claim.upper)
    assert [claim.holm for claim in claims[1:]] == [1.0, 1.0, 1.0]
    assert f"p-value is {4 * control.claim.upper:.2g}" in adjusted[invalid[0].id].seen
    assert not any("p-value" in adjusted[case.id].seen for case in invalid[1:])


def test_adjusting_returns_new_records_in_the_same_order_and_changes_nothing_else():
    records = list(records_of(PLAN, erasure=3).values())
    before = [record.to_json() for record in records]
    adjusted = with_holm(iter(records))
    assert [record.to_json() for record in records] == before
    assert [record.with_claim(holm=None) for record in adjusted] == records
