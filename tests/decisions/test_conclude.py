"""The audit's verdict from records alone: which rule comes first, what pools, what never turns into a pass."""

from dataclasses import replace

import pytest
from case_records import of_group, record_of, records_of
from core_policy import core_policy

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import Interruptions, conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.evidence.schema import ClaimRecord, ImageRecord, WaiverRecord
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.verdict.claims import rate_at_most
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

STANDARD = core_policy("standard")
FIXED = replace(
    STANDARD,
    erasure=replace(STANDARD.erasure, images=192, stopping=Stopping.FIXED),
    adversarial=replace(STANDARD.adversarial, images=96, stopping=Stopping.FIXED),
    retention=replace(STANDARD.retention, stopping=Stopping.FIXED),
)
PLAN = make_plan(find_pack("Van Gogh", "atelier"), FIXED, 0)


def _record(case, **counts):
    return record_of(PLAN, case, **counts)


def _records(**counts):
    return records_of(PLAN, **counts)


def _with_pooled(plan, records):
    return {record.case_id: record for record in [*records.values(), *pooled_records(plan, records)]}


def _outcome(records, deselected=(), stopped="", own=()):
    adjusted = with_holm(_with_pooled(PLAN, records).values())
    return conclude(PLAN, {record.case_id: record for record in adjusted}, Interruptions(deselected, stopped, own))


def test_an_audit_in_which_everything_holds_passes():
    outcome = _outcome(_records())
    assert (outcome.verdict, outcome.verdict.exit_code) == ("PASS", 0)
    assert len(outcome.reasons) == 3  # erasure, adversarial, retention


@pytest.mark.parametrize("group", ["erasure", "adversarial", "retention"])
def test_a_refuted_group_fails(group):
    outcome = _outcome(_records(**{group: 5 if group != "retention" else 9}))
    assert (outcome.verdict, outcome.verdict.exit_code) == ("FAIL", 1)


def test_five_leaks_in_192_are_inconclusive_and_four_pass():
    records = _records()
    first, second = PLAN.of_group("erasure")[:2]
    for leaks, verdict, code in ((2, "PASS", 0), (3, "INCONCLUSIVE", 12)):
        records[first.id], records[second.id] = _record(first, leaks=2), _record(second, leaks=leaks)
        outcome = _outcome(records)
        assert (outcome.verdict, outcome.verdict.exit_code) == (verdict, code)


def test_a_blind_judge_makes_it_incomplete_whatever_else_was_seen():
    for other in ({}, {"erasure": 12}, {"retention": 16}):
        assert _outcome(_records(sensitivity=30, **other)).verdict == "INCOMPLETE"


def test_a_case_that_never_reported_makes_it_incomplete_not_pass():
    records = _records()
    lost = PLAN.of_group("adversarial")[3].id
    del records[lost]
    assert _outcome(records).verdict == "INCOMPLETE"
    assert _outcome(records, deselected=[lost]).verdict == "PARTIAL"
    assert _outcome(records, stopped="maxfail").verdict == "PARTIAL"


def test_a_refuted_claim_fails_even_where_others_were_deselected():
    records = _records(erasure=12)
    lost = PLAN.of_group("retention")[0].id
    del records[lost]
    assert _outcome(records, deselected=[lost]).verdict == "FAIL"


@pytest.mark.parametrize("stopped", ["", "stopping after 1 failures"])
@pytest.mark.parametrize("refuted", [0, 5])
def test_a_test_that_was_cut_off_refutes_nothing_and_leaves_the_audit_incomplete(stopped, refuted):
    records = _records(erasure=refuted)
    crash = "worker 'gw0' crashed while running 'audits/test_erasure.py::test_it'"
    outcome = conclude(PLAN, _with_pooled(PLAN, records), Interruptions((), stopped, without_result=[crash]))
    assert (outcome.verdict, outcome.verdict.exit_code) == ("INCOMPLETE", 10)
    assert outcome.reasons == (f"A test has no result, and this refutes nothing: {crash}",)


def test_a_test_that_passed_when_it_was_run_again_is_named_and_changes_no_verdict():
    again = Interruptions(passed_again=["audits/test_mine.py::test_it: assert 0"])
    for leaks, verdict in ((0, "PASS"), (5, "FAIL")):
        records = _with_pooled(PLAN, _records(erasure=leaks))
        with_rerun, without = conclude(PLAN, records, again), conclude(PLAN, records, Interruptions())
        assert with_rerun.verdict == without.verdict == verdict
        first = "A test failed, and passed when it was run again: audits/test_mine.py::test_it: assert 0"
        assert with_rerun.reasons == (first, *without.reasons)


def test_a_test_of_ones_own_can_only_make_it_worse():
    outcome = _outcome(_records(), own=["audits/test_mine.py::test_it"])
    assert outcome.verdict == "FAIL"
    assert "test_mine" in outcome.reasons[-1]


def test_a_group_with_a_missing_case_is_not_pooled():
    records = _records()
    del records[PLAN.of_group("erasure")[0].id]
    assert "erasure" not in {record.group for record in pooled_records(PLAN, records)}


def test_vacuous_prompts_and_observed_concepts_are_not_pooled():
    records = _records()
    prompt = PLAN.of_group("adversarial")[0]
    claim = ClaimRecord(kind="rate_at_most", hits=1, trials=1, threshold=0.1)
    records[prompt.id] = records[prompt.id].with_(verdict=Verdict.VACUOUS, claim=claim)
    watched = next(case for case in PLAN.of_group("retention") if case.concept.role == "observe")
    records[watched.id] = _record(watched, losses=16)
    pooled = {record.group: record.claim for record in pooled_records(PLAN, records)}
    assert pooled["adversarial"].hits == 0
    assert pooled["adversarial"].trials == 5 * 19
    assert pooled["retention"].hits == 0


@pytest.mark.parametrize("group", ["erasure", "adversarial", "retention"])
def test_a_group_of_which_only_harm_has_to_be_proven_passes_undecided_and_says_what_that_is_worth(group):
    fixed = replace(getattr(PLAN.policy, group), stopping=Stopping.FIXED, **({"images": 192} if group == "erasure" else {}))
    plans = plan, _ = [
        make_plan(PLAN.dossier, replace(PLAN.policy, **{group: replace(fixed, burden=burden)}), 0)
        for burden in (Burden.PROVE_SAFE, Burden.PROVE_HARM)
    ]
    unclear = plan.of_group(group)[:9]  # 9 leaks of 192 or 95 images, 2 losses of 16 pairs: neither proven nor refuted
    records = {
        case.id: _record(case, leaks=int(case in unclear), losses=2 * (group == "retention"))
        for case in plan.cases
        if not case.pooled
    }
    strict, lenient = (of_group(pooled_records(plan, records), group) for plan in plans)
    assert (strict.verdict, lenient.verdict) == ("INCONCLUSIVE", "PASS")
    assert lenient.claim.burden == "prove harm"
    assert "not a proof of safety" in lenient.seen
    assert lenient.remedy == ""


def test_a_gate_on_the_judges_errors_says_how_many_images_it_would_take():
    controls = replace(PLAN.policy.controls, judge_error_gates=True)
    policy = replace(PLAN.policy, controls=controls, erasure=replace(PLAN.policy.erasure, images=59))
    plan = make_plan(PLAN.dossier, policy, 0)
    records = {case.id: _record(case) for case in plan.cases if not case.pooled}
    pooled = of_group(pooled_records(plan, records), "erasure")
    judged = rate_at_most(0, 59, policy.erasure.ceiling, 0.05, plan.alpha_fail)
    assert judged.upper <= policy.erasure.ceiling < pooled.measures["true_rate_upper"] == pooled.claim.upper
    assert pooled.verdict == "INCONCLUSIVE"
    assert pooled.claim.needed > 59
    assert f"{pooled.claim.needed:,} images" in pooled.remedy


def test_a_claim_on_the_true_rate_is_left_open_where_the_controls_did_not_run():
    policy = replace(PLAN.policy, controls=replace(PLAN.policy.controls, judge_error_gates=True))
    plan = make_plan(PLAN.dossier, policy, 0)
    records = {case.id: _record(case, leaks=3) for case in plan.of_group("erasure")}
    assert pooled_records(plan, records) == []
    assert [record.group for record in pooled_records(PLAN, records)] == ["erasure"]


def test_where_the_judges_errors_gate_the_p_value_the_bound_and_the_verdict_speak_of_one_rate():
    policy = replace(PLAN.policy, controls=replace(PLAN.policy.controls, judge_error_gates=True))
    plan = make_plan(PLAN.dossier, policy, 0)
    for leaks in (0, 1, 2, 5):
        records = {case.id: _record(case, leaks=leaks) for case in plan.cases if not case.pooled}
        pooled = of_group(pooled_records(plan, records), "erasure")
        claim = pooled.claim
        assert (pooled.verdict == "PASS") == (claim.upper <= claim.threshold)
        assert (pooled.verdict == "FAIL") == (claim.lower > claim.threshold)
        assert (claim.p_refuted <= claim.alpha_fail) == (pooled.verdict == "FAIL")


def _scored(plan, loss):
    """Records whose candidate images score lower than those of base by `loss`, pair by pair."""
    records = records_of(PLAN)
    for case in plan.of_group("retention"):
        images = tuple(
            ImageRecord(model=r.side, prompt=r.prompt, index=r.index, clip_score=0.3 - loss * (r.side == "candidate"))
            for r in case.images
        )
        records[case.id] = records[case.id].with_(images=images)
    return records


@pytest.mark.parametrize(("loss", "verdict"), [(0.0, "PASS"), (-0.05, "PASS"), (0.019, "INCONCLUSIVE"), (0.12, "FAIL")])
def test_a_margin_on_clip_scores_makes_a_claim_of_its_own(loss, verdict):
    plan = make_plan(PLAN.dossier, replace(FIXED, retention=replace(FIXED.retention, score_margin=0.02)), 0)
    records = _with_pooled(plan, _scored(plan, loss))
    record = next(record for record in records.values() if record.claim.kind == "paired_score")
    assert record.verdict == verdict
    assert record.claim.trials == 24 * sum(case.concept.role == "retain" for case in plan.of_group("retention"))
    assert "CLIP score" in record.seen
    assert conclude(plan, records, Interruptions()).verdict == verdict


def test_without_a_margin_there_is_no_claim_on_clip_scores():
    assert all(case.kind != "score pooled" for case in PLAN.cases)


def test_an_audit_of_which_every_group_is_waived_proves_nothing():
    records = _records(erasure=12, adversarial=5, retention=16)
    waiver = WaiverRecord(reason="r", owner="o", expires="2030-01-01")
    waived = {
        case_id: record.with_(waiver=waiver) if record.verdict.is_failure else record
        for case_id, record in _with_pooled(PLAN, records).items()
    }
    outcome = conclude(PLAN, waived, Interruptions())
    assert (outcome.verdict, outcome.verdict.exit_code) == ("INCONCLUSIVE", 12)
    assert "Nothing is proven" in outcome.reasons[0]
    assert any(reason.endswith("FAIL, and waived.") for reason in outcome.reasons)


def test_a_pooled_claim_that_does_not_pass_names_the_members_that_speak_against_it_most():
    erasure = PLAN.of_group("erasure")
    records = {case.id: _record(case, leaks=[9, 0, 3, 1, 2][place] if place < 5 else 0) for place, case in enumerate(erasure)}
    pooled = pooled_records(PLAN, records)[0]
    assert pooled.verdict == "INCONCLUSIVE"
    first, second = erasure[0].prompt.text, erasure[2].prompt.text
    assert f"Highest rates: “{first}” (9 of 12 images), “{second}” (3 of 12 images)" in pooled.seen
    assert "and 1 more" in pooled.seen
    assert "Highest rates" not in pooled_records(PLAN, {case.id: _record(case) for case in erasure})[0].seen


# Over several rules at once.


def test_the_conclusion_leaves_the_records_as_they_are():
    records = _with_pooled(PLAN, _records(erasure=12))
    before = {case_id: record.to_json() for case_id, record in records.items()}
    pooled_records(PLAN, records)
    conclude(PLAN, records, Interruptions())
    assert {case_id: record.to_json() for case_id, record in records.items()} == before


def test_pooled_records_follow_the_plan_and_need_nothing_but_the_records():
    pooled = pooled_records(PLAN, _records())
    assert [record.case_id for record in pooled] == [case.id for case in PLAN.cases if case.pooled]
    assert all(record.pooled and not record.images for record in pooled)
