"""The audit's verdict from records alone: which rule comes first, what pools, what never turns into a pass."""

from dataclasses import replace

import pytest

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import EXIT_CODES, conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.knowledge.dossier import Ordering
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy
from dmun_audit.verdict.claims import as_record, harm_only, rate_at_least, rate_at_most
from dmun_audit.verdict.paired import accuracy_loss_at_most

STANDARD = load_policy("standard")
FIXED = replace(
    STANDARD,
    erasure=replace(STANDARD.erasure, images=192, stopping="fixed"),
    adversarial=replace(STANDARD.adversarial, images=96, stopping="fixed"),
    retention=replace(STANDARD.retention, stopping="fixed"),
)
PLAN = make_plan(find_pack("Van Gogh", "atelier"), FIXED, 0)


def _record(case, leaks=0, losses=0, control_hits=48):
    """What `audit.py` writes of one case, from counts."""
    policy, a = PLAN.policy, PLAN.policy.alpha
    if case.kind == "sensitivity":
        decided = as_record("rate_at_least", rate_at_least(control_hits, 48, policy.controls.sensitivity_floor, a, a))
    elif case.kind == "specificity":
        decided = as_record("rate_at_most", rate_at_most(0, 72, policy.controls.false_positive_ceiling, a, a))
    elif case.kind == "validity":
        decided = {"verdict": "PASS", "claim": {"kind": "validity", "hits": 12, "trials": 20, "threshold": 8}}
    elif case.kind == "retention":
        decision = harm_only(accuracy_loss_at_most(losses, 0, 16, policy.retention.margin, a, PLAN.alpha_fail))
        decided = as_record("paired_accuracy", decision)
    else:
        trials = len(case.images) or 5
        decided = as_record("rate_at_most", harm_only(rate_at_most(leaks, trials, policy.erasure.ceiling, a, PLAN.alpha_fail)))
    if case.group in ("erasure", "adversarial", "retention"):
        claim = decided["claim"]
        claim["outcomes"] = [1] * claim["hits"] + [0] * (claim["trials"] - claim["hits"])
    measures = {f"clip_{what}_{side}": 0.5 for what in ("accuracy", "score") for side in ("base", "candidate")}
    return {
        "case_id": case.id,
        "group": case.group,
        "title": case.title,
        "pooled": False,
        "gating": case.gating,
        "concept": case.concept and case.concept.model_dump(include={"name", "role", "relation", "similarity"}),
        "prompt": case.prompt and case.prompt.model_dump(),
        "seen": "…",
        "remedy": "…",
        "images": [],
        "measures": measures | {"kid_paired": 0.0},
        "volatile": {},
        **decided,
    }


def _records(**counts):
    """Records of every case that tests run; `counts` by group: leaks a case, losses a concept, hits of the control."""
    made = {}
    for case in PLAN.cases:
        if not case.pooled:
            made[case.id] = _record(
                case,
                leaks=counts.get(case.group, 0),
                losses=counts.get("retention", 0),
                control_hits=counts.get("sensitivity", 48),
            )
    return made


def _outcome(records, deselected=(), stopped="", own=()):
    everything = {r["case_id"]: r for r in with_holm([*records.values(), *pooled_records(PLAN, records)])}
    return conclude(PLAN, everything, deselected=set(deselected), stopped=stopped, own_failures=list(own))


def test_an_audit_in_which_everything_holds_passes():
    outcome = _outcome(_records())
    assert (outcome.verdict, outcome.exit_code) == ("PASS", 0)
    assert len(outcome.reasons) == 3  # erasure, adversarial, retention


@pytest.mark.parametrize("group", ["erasure", "adversarial", "retention"])
def test_a_refuted_group_fails(group):
    outcome = _outcome(_records(**{group: 5 if group != "retention" else 9}))
    assert (outcome.verdict, outcome.exit_code) == ("FAIL", 1)


def test_five_leaks_in_192_are_inconclusive_and_four_pass():
    records = _records()
    first, second = PLAN.of_group("erasure")[:2]
    for leaks, verdict in ((2, "PASS"), (3, "INCONCLUSIVE")):
        records[first.id], records[second.id] = _record(first, leaks=2), _record(second, leaks=leaks)
        outcome = _outcome(records)
        assert outcome.verdict == verdict
        assert outcome.exit_code == EXIT_CODES[verdict]


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


def test_a_test_of_ones_own_can_only_make_it_worse():
    outcome = _outcome(_records(), own=["audits/test_mine.py::test_it"])
    assert outcome.verdict == "FAIL"
    assert "test_mine" in outcome.reasons[-1]


def test_a_group_with_a_missing_case_is_not_pooled():
    records = _records()
    del records[PLAN.of_group("erasure")[0].id]
    assert "erasure" not in {record["group"] for record in pooled_records(PLAN, records)}


def test_vacuous_prompts_and_observed_concepts_are_not_pooled():
    records = _records()
    prompt = PLAN.of_group("adversarial")[0]
    records[prompt.id] |= {"verdict": "VACUOUS", "claim": {"kind": "rate_at_most", "hits": 1, "trials": 1, "threshold": 0.1}}
    watched = next(case for case in PLAN.of_group("retention") if case.concept.role == "observe")
    records[watched.id]["claim"] |= {"hits": 16}
    pooled = {
        record["group"]: record["claim"] for record in pooled_records(PLAN, records) if record["claim"].get("hits") is not None
    }
    assert pooled["adversarial"]["hits"] == 0
    assert pooled["adversarial"]["trials"] == 5 * 19
    assert pooled["retention"]["hits"] == 0


def test_holm_counts_only_claims_that_can_refute_and_never_lowers_a_p_value():
    records = with_holm([*_records(erasure=3).values()])
    adjusted = [r["claim"]["holm"] for r in records if r["claim"].get("holm") is not None]
    assert adjusted
    for record in records:
        if record["claim"].get("holm") is not None:
            assert record["claim"]["holm"] >= record["claim"]["p_refuted"]
        if record["group"] == "controls":
            assert record["claim"].get("holm") is None


def test_damage_is_named_with_a_p_value_adjusted_over_all_concepts():
    records = _records()
    concepts = PLAN.of_group("retention")
    for place, case in enumerate(concepts):
        records[case.id]["measures"] |= {"kid_p_value": 0.04 if place else 0.001}
    made = {record["case_id"]: record["measures"] for record in with_holm(records.values())}
    assert made[concepts[0].id]["kid_p_holm"] == pytest.approx(0.001 * len(concepts))
    assert all(made[case.id]["kid_p_holm"] == pytest.approx(0.04 * (len(concepts) - 1)) for case in concepts[1:])
    assert not any("kid_p_holm" in record["measures"] for record in records.values())
    for case in concepts:
        records[case.id]["measures"] |= {"cmmd_p_value": 0.9}
    made = {record["case_id"]: record["measures"] for record in with_holm(records.values())}
    assert made[concepts[0].id]["kid_p_holm"] == pytest.approx(0.001 * 2 * len(concepts))
    assert made[concepts[0].id]["cmmd_p_holm"] == 1.0


def test_hits_of_invalid_prompts_are_weighed_against_what_the_judge_imagines():
    records = _records()
    invalid = PLAN.of_group("adversarial")[:4]
    for place, case in enumerate(invalid):
        claim = {"kind": "rate_at_most", "hits": int(place == 0), "trials": 1, "threshold": 0.1}
        records[case.id] |= {"verdict": "VACUOUS", "claim": claim}
    made = {record["case_id"]: record["claim"] for record in with_holm(records.values())}
    allowed = next(
        r["claim"]["upper"] for r in records.values() if r["group"] == "controls" and r["claim"]["kind"] == "rate_at_most"
    )
    assert made[invalid[0].id]["p_imagined"] == pytest.approx(allowed)
    assert made[invalid[0].id]["holm"] == pytest.approx(4 * allowed)
    assert [made[case.id]["holm"] for case in invalid[1:]] == [1.0, 1.0, 1.0]
    seen = {record["case_id"]: record["seen"] for record in with_holm(records.values())}
    assert f"p-value of {4 * allowed:.2g}" in seen[invalid[0].id]
    assert not any("p-value" in seen[case.id] for case in invalid[1:])


def test_correlations_are_adjusted_over_the_whole_table():
    records = _records()
    for case in PLAN.of_group("retention"):
        records[case.id]["measures"] |= {"clip_accuracy_candidate": 0.5 - 0.4 * case.concept.similarity}
    ordering = next(r for r in pooled_records(PLAN, records) if r["group"] == "ordering")
    rows = [row for row in ordering["tables"]["sources"] if row["p_value"] is not None]
    assert rows
    best = min(rows, key=lambda row: row["p_value"])
    assert best["p_holm"] == pytest.approx(min(1.0, best["p_value"] * len(rows)))
    assert all(row["p_holm"] >= row["p_value"] for row in rows)
    assert all(row["p_holm"] is None for row in ordering["tables"]["sources"] if row["p_value"] is None)


@pytest.mark.parametrize("group", ["erasure", "adversarial", "retention"])
def test_a_group_of_which_only_harm_has_to_be_proven_passes_undecided_and_says_what_that_is_worth(group):
    fixed = replace(getattr(PLAN.policy, group), stopping="fixed", **({"images": 192} if group == "erasure" else {}))
    plans = plan, _ = [
        make_plan(PLAN.dossier, replace(PLAN.policy, **{group: replace(fixed, burden=burden)}), 0)
        for burden in ("prove safe", "prove harm")
    ]
    unclear = plan.of_group(group)[:9]  # 9 leaks of 192 or 95 images, 2 losses of 16 pairs: neither proven nor refuted
    records = {
        case.id: _record(case, leaks=int(case in unclear), losses=2 * (group == "retention"))
        for case in plan.cases
        if not case.pooled
    }
    strict, lenient = (next(r for r in pooled_records(p, records) if r["group"] == group) for p in plans)
    assert (strict["verdict"], lenient["verdict"]) == ("INCONCLUSIVE", "PASS")
    assert lenient["claim"]["burden"] == "prove harm"
    assert "no proof of safety" in lenient["seen"]
    assert lenient["remedy"] == ""


def test_the_ordering_is_undefined_without_damage_and_follows_it_where_there_is_some():
    records = _records()
    ordering = next(r for r in pooled_records(PLAN, records) if r["group"] == "ordering")
    assert all(row["rho"] is None or row["p_value"] > 0.05 for row in ordering["tables"]["sources"])
    for case in PLAN.of_group("retention"):
        records[case.id]["measures"] |= {"clip_accuracy_candidate": 0.5 - 0.4 * case.concept.similarity}
    ordering = next(r for r in pooled_records(PLAN, records) if r["group"] == "ordering")
    row = next(row for row in ordering["tables"]["sources"] if row["damage"] == "clip_accuracy")
    assert row["rho"] == pytest.approx(1)
    assert row["descriptive"]


def test_a_gate_on_the_judges_errors_says_how_many_images_it_would_take():
    controls = replace(PLAN.policy.controls, judge_error_gates=True)
    policy = replace(PLAN.policy, controls=controls, erasure=replace(PLAN.policy.erasure, images=59))
    plan = make_plan(PLAN.dossier, policy, 0)
    records = {case.id: _record(case) for case in plan.cases if not case.pooled}
    pooled = next(record for record in pooled_records(plan, records) if record["group"] == "erasure")
    judged = rate_at_most(0, 59, policy.erasure.ceiling, 0.05, plan.alpha_fail)
    assert judged.upper <= policy.erasure.ceiling < pooled["measures"]["true_rate_upper"] == pooled["claim"]["upper"]
    assert pooled["verdict"] == "INCONCLUSIVE"
    assert pooled["claim"]["needed"] > 59
    assert f"{pooled['claim']['needed']:,} images" in pooled["remedy"]


def test_a_curators_ordering_stands_beside_those_of_language_models():
    names = [concept.name for concept in PLAN.dossier.concepts]
    stated = [
        Ordering(source="language model", model="x", similarity={name: place / 100 for place, name in enumerate(names)}),
        Ordering(source="vision-language model", model="y", similarity=dict.fromkeys(names[:9], 0.5)),
    ]
    dossier = PLAN.dossier.model_copy(update={"orderings": tuple(stated)})
    plan = make_plan(dossier, PLAN.policy, 0)
    records = {case.id: _record(case) for case in plan.cases if not case.pooled}
    for place, case in enumerate(plan.of_group("retention")):
        records[case.id]["measures"] |= {"clip_accuracy_candidate": place / 100}
    ordering = next(r for r in pooled_records(plan, records) if r["group"] == "ordering")
    rows = {row["source"]: row for row in ordering["tables"]["sources"] if row["damage"] == "clip_accuracy"}
    assert list(rows) == ["curator", "language model", "vision-language model", "CLIP text", "CLIP image"]
    assert rows["curator"]["rho"] is not None
    assert rows["vision-language model"]["rho"] is None
    assert rows["vision-language model"]["n"] < rows["curator"]["n"]


def test_a_claim_on_the_true_rate_is_left_open_where_the_controls_did_not_run():
    policy = replace(PLAN.policy, controls=replace(PLAN.policy.controls, judge_error_gates=True))
    plan = make_plan(PLAN.dossier, policy, 0)
    records = {case.id: _record(case, leaks=3) for case in plan.of_group("erasure")}
    assert pooled_records(plan, records) == []
    assert [r["group"] for r in pooled_records(PLAN, records)] == ["erasure"]


def test_where_the_judges_errors_gate_the_p_value_the_bound_and_the_verdict_speak_of_one_rate():
    policy = replace(PLAN.policy, controls=replace(PLAN.policy.controls, judge_error_gates=True))
    plan = make_plan(PLAN.dossier, policy, 0)
    for leaks in (0, 1, 2, 5):
        records = {case.id: _record(case, leaks=leaks) for case in plan.cases if not case.pooled}
        pooled = next(record for record in pooled_records(plan, records) if record["group"] == "erasure")
        claim = pooled["claim"]
        assert (pooled["verdict"] == "PASS") == (claim["upper"] <= claim["threshold"])
        assert (pooled["verdict"] == "FAIL") == (claim["lower"] > claim["threshold"])
        assert (claim["p_refuted"] <= claim["alpha_fail"]) == (pooled["verdict"] == "FAIL")


def _scored(plan, loss):
    """Records whose candidate images score lower than those of base by `loss`, pair by pair."""
    made = {}
    for case in plan.cases:
        if not case.pooled:
            made[case.id] = _record(case)
            made[case.id]["images"] = [
                {"model": r.side, "prompt": r.prompt, "index": r.index, "clip_score": 0.3 - loss * (r.side == "candidate")}
                for r in case.images
                if case.group == "retention"
            ]
    return made


@pytest.mark.parametrize(("loss", "verdict"), [(0.0, "PASS"), (-0.05, "PASS"), (0.019, "INCONCLUSIVE"), (0.12, "FAIL")])
def test_a_margin_on_clip_scores_makes_a_claim_of_its_own(loss, verdict):
    plan = make_plan(PLAN.dossier, replace(FIXED, retention=replace(FIXED.retention, score_margin=0.02)), 0)
    records = _scored(plan, loss)
    records |= {record["case_id"]: record for record in pooled_records(plan, records)}
    claim = next(r for r in records.values() if r["claim"]["kind"] == "paired_score")
    assert claim["verdict"] == verdict
    assert claim["claim"]["trials"] == 16 * sum(case.concept.role == "retain" for case in plan.of_group("retention"))
    assert "CLIP score" in claim["seen"]
    outcome = conclude(plan, records, deselected=set(), stopped="", own_failures=[])
    assert outcome.verdict == verdict


def test_without_a_margin_there_is_no_claim_on_clip_scores():
    assert all(case.kind != "score pooled" for case in PLAN.cases)


def test_an_audit_of_which_every_group_is_waived_proves_nothing():
    records = _records(erasure=12, adversarial=5, retention=16)
    records |= {record["case_id"]: record for record in pooled_records(PLAN, records)}
    for record in records.values():
        if record["verdict"] in ("FAIL", "INCONCLUSIVE"):
            record["waiver"] = {"reason": "r", "owner": "o", "expires": "2030-01-01"}
    outcome = conclude(PLAN, records, deselected=set(), stopped="", own_failures=[])
    assert (outcome.verdict, outcome.exit_code) == ("INCONCLUSIVE", 12)
    assert "Nothing is proven" in outcome.reasons[0]
    assert any(reason.endswith("FAIL, and waived.") for reason in outcome.reasons)


def test_a_pooled_claim_that_does_not_pass_names_the_members_that_speak_against_it_most():
    erasure = PLAN.of_group("erasure")
    records = {case.id: _record(case, leaks=[9, 0, 3, 1, 2][place] if place < 5 else 0) for place, case in enumerate(erasure)}
    pooled = pooled_records(PLAN, records)[0]
    assert pooled["verdict"] == "INCONCLUSIVE"
    first, second = erasure[0].prompt.text, erasure[2].prompt.text
    assert f"Most against it: “{first}” (9 of 12 images), “{second}” (3 of 12 images)" in pooled["remedy"]
    assert "and 1 more" in pooled["remedy"]
    assert "Most against" not in pooled_records(PLAN, {case.id: _record(case) for case in erasure})[0]["remedy"]
