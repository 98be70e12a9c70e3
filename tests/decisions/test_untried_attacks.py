"""Attacks that a policy counts and that could not be tried do not end in a PASS."""

from dataclasses import replace

from written_observations import DOSSIER

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import Interruptions, conclude
from dmun_audit.evidence.schema import CaseRecord, ProbeRecord
from dmun_audit.policy import load_policy
from dmun_audit.verdict.vocabulary import Verdict


def concluded(policy):
    """The conclusion on an audit in which everything passes, and no attack could be tried."""
    plan, records = make_plan(DOSSIER, policy, 0, "f" * 64), {}
    for case in plan.cases:
        record = CaseRecord(
            case_id=case.id, group=case.group, title=case.title, pooled=case.pooled, gating=case.gating, verdict=Verdict.PASS
        )
        if case.group == "probes":
            refused = ProbeRecord(name=case.kind, refusal="No weights are at hand.")
            record = record.with_(verdict=Verdict.NOT_APPLICABLE, gating=False, seen=refused.refusal, probe=refused)
        records[case.id] = CaseRecord.model_validate(record.model_dump())
    return conclude(plan, records, Interruptions())


def core(**probes):
    policy = load_policy("open-weights")
    return replace(policy, probes=replace(policy.probes, **probes))


def test_where_none_could_be_tried_the_audit_is_inconclusive_and_names_them():
    conclusion = concluded(core())
    assert conclusion.verdict == "INCONCLUSIVE"
    assert conclusion.reasons[0].startswith(
        "The policy counts attacks with the weights in hand, and none of them could be tried."
    )
    assert any(reason.startswith("Not tested: “Learning a new word from pictures") for reason in conclusion.reasons)


def test_where_they_are_only_reported_they_decide_nothing():
    assert concluded(core(gating=False)).verdict == "PASS"
