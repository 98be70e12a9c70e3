"""What a waiver changes: the verdict on the audit, and nothing else."""

import pytest
from waived_plans import RETAINED, concluded, plan_with, records_of, waiver_of

from dmun_audit.evidence.schema import WaiverRecord
from dmun_audit.verdict.vocabulary import Verdict


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_the_case_keeps_its_verdict_and_the_audit_passes_without_it(verdict):
    plan = plan_with(waiver_of(RETAINED))
    marked, outcome = concluded(plan, records_of(plan, retention=verdict))
    waived = [record for record in marked.values() if record.waiver]
    assert [record.verdict for record in waived] == [verdict]
    assert waived[0].waiver == WaiverRecord(reason="a reason", owner="an owner", expires="2026-11-27")
    assert (outcome.verdict, outcome.verdict.exit_code) == ("PASS", 0)
    assert outcome.reasons[:2] == ("seen of erasure", "seen of adversarial")
    assert outcome.reasons[2].endswith(f": {verdict}, and waived.")


def test_what_is_not_waived_decides_as_before():
    plan = plan_with(waiver_of(RETAINED))
    assert concluded(plan, records_of(plan, retention="FAIL", erasure="FAIL"))[1].verdict == "FAIL"
    assert concluded(plan, records_of(plan, retention="FAIL", erasure="INCONCLUSIVE"))[1].verdict == "INCONCLUSIVE"
    records = records_of(plan, retention="FAIL")
    control = plan.of_group("controls")[0].id
    records[control] = records[control].with_(verdict=Verdict.FAIL)
    assert concluded(plan, records)[1].verdict == "INCOMPLETE"


def test_waiving_a_pooled_claim_waives_none_of_its_members_and_the_other_way_round():
    plan = plan_with(waiver_of(RETAINED))
    records = records_of(plan, retention="FAIL")
    member = plan.of_group("retention")[1]
    records[member.id] = records[member.id].with_(verdict=Verdict.FAIL)
    assert concluded(plan, records)[1].verdict == "FAIL"
    other = plan_with(waiver_of(member.id))
    assert concluded(other, records)[1].verdict == "FAIL"
    both = plan_with(waiver_of(RETAINED), waiver_of(member.id))
    assert concluded(both, records)[1].verdict == "PASS"
