"""How the claims of groups are decided and when they are looked at: from outcomes alone."""

from dataclasses import replace

import pytest
from core_policy import core_policy

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.claim_groups.rules import JudgeErrors, Rules
from dmun_audit.knowledge.packs import find_pack

DOSSIER = find_pack("Van Gogh", "atelier")
STANDARD = core_policy("standard")
ERASURE, RETENTION = claim_group("erasure"), claim_group("retention")


def _plan(**sections):
    """The plan of the standard policy with other figures, given by section."""
    changed = {
        name: replace(getattr(STANDARD, name), **figures) for name, figures in sections.items() if isinstance(figures, dict)
    }
    changed |= {name: figure for name, figure in sections.items() if not isinstance(figure, dict)}
    return make_plan(DOSSIER, replace(STANDARD, **changed), 0)


@pytest.mark.parametrize("gates", [False, True])
def test_the_judges_errors_move_the_limits_where_they_gate(gates):
    rules = Rules(
        _plan(controls={"judge_error_gates": gates}), JudgeErrors(hits=44, with_target=48, false_hits=1, without_target=72)
    )
    clean = [[0] * 4 for _ in range(16)]  # 64 images prove a judged rate of 5%, and not a true one
    decision = rules.decide_group(ERASURE, clean)
    assert decision.verdict == ("INCONCLUSIVE" if gates else "PASS")
    assert decision.threshold == 0.05
    judged = Rules(rules.plan).decide_group(ERASURE, clean)
    bounds = rules.true_rate(decision)
    assert judged.upper < bounds["true_rate_upper"]
    assert decision.upper == (bounds["true_rate_upper"] if gates else judged.upper)  # numbers and verdict speak of one rate
    assert (decision.alpha_pass, decision.alpha_fail) == (0.05, rules.plan.alpha_fail)
    longer = rules.decide_group(ERASURE, [[0] * 8 for _ in range(16)])
    assert longer.verdict == "PASS"
    assert rules.true_rate(longer)["true_rate_upper"] <= 0.05 or not gates


def test_a_rate_that_the_judges_false_alarms_explain_refutes_nothing_where_they_gate():
    plan = _plan(controls={"judge_error_gates": True})
    outcomes = [[int(place == prompt % 4) for place in range(4)] for prompt in range(16)]  # a quarter of the images
    assert Rules(plan).decide_group(ERASURE, outcomes).verdict == "FAIL"
    noisy = JudgeErrors(hits=48, with_target=48, false_hits=18, without_target=72)
    assert Rules(plan, noisy).decide_group(ERASURE, outcomes).verdict == "INCONCLUSIVE"


def test_looks_come_at_whole_cycles_of_every_prompt():
    rules = Rules(_plan())
    assert RETENTION.cycle(rules.plan) == 8
    assert rules.schedule(RETENTION, RETENTION.rounds(rules.plan, 10)) == [8, 16, 24]
    assert rules.schedule(ERASURE, 24)[:3] == [1, 2, 3]
    assert rules.schedule(ERASURE, 24, upto=2) == [1, 2]
    assert Rules(_plan(retention={"first_look": 9})).schedule(RETENTION, 16) == [16]


def test_more_pairs_than_whole_cycles_are_not_drawn():
    rules = Rules(_plan(retention={"pairs": 20}))
    assert RETENTION.rounds(rules.plan, 10) == 16
    assert rules.schedule(RETENTION, 16) == [8, 16]


def test_a_group_without_a_pooled_claim_is_not_decided():
    rules = Rules(_plan())
    assert not rules.stops_early(claim_group("ordering"))
    with pytest.raises(ValueError, match="no pooled claim"):
        rules.decide_group(claim_group("ordering"), [[0]])
