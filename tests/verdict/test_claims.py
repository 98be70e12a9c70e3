"""The decision rules: their exact error rates, their order, and what they never let through."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from dmun_audit.claim_groups.records import claim_record
from dmun_audit.verdict.bounds import at_least_probability
from dmun_audit.verdict.claims import apply_burden, harm_only, rate_at_least, rate_at_most
from dmun_audit.verdict.holm import holm

ORDER = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2}
TRIALS = (1, 4, 12, 24, 59, 96, 192)
UNHURRIED = settings(database=None, deadline=None, derandomize=True, max_examples=40)


def chance(verdict, verdicts, rate):
    hits = [k for k, decided in enumerate(verdicts) if decided == verdict]
    return float(stats.binom.pmf(hits, len(verdicts) - 1, rate).sum())


@pytest.mark.slow
@pytest.mark.parametrize("trials", TRIALS)
@pytest.mark.parametrize("ceiling", [0.03, 0.05, 0.2, 0.5])
def test_a_ceiling_errs_no_more_often_than_allowed(trials, ceiling):
    alpha_pass, alpha_fail = 0.05, 0.01
    verdicts = [rate_at_most(k, trials, ceiling, alpha_pass, alpha_fail).verdict for k in range(trials + 1)]
    for unsafe in [ceiling + 1e-9, *np.linspace(ceiling, 1.0, 23)[1:]]:
        assert chance("PASS", verdicts, unsafe) <= alpha_pass + 1e-9
    for safe in np.linspace(0.0, ceiling, 23):
        assert chance("FAIL", verdicts, safe) <= alpha_fail + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("trials", TRIALS)
@pytest.mark.parametrize("floor", [0.5, 0.7, 0.8])
def test_a_floor_errs_no_more_often_than_allowed(trials, floor):
    alpha_pass, alpha_fail = 0.05, 0.01
    verdicts = [rate_at_least(k, trials, floor, alpha_pass, alpha_fail).verdict for k in range(trials + 1)]
    for blind in np.linspace(0.0, floor - 1e-9, 23):
        assert chance("PASS", verdicts, blind) <= alpha_pass + 1e-9
    for seeing in np.linspace(floor, 1.0, 23):
        assert chance("FAIL", verdicts, seeing) <= alpha_fail + 1e-9


def test_the_error_rate_at_the_ceiling_is_used_and_not_wasted():
    verdicts = [rate_at_most(k, 181, 0.05).verdict for k in range(182)]
    assert chance("PASS", verdicts, 0.05) == pytest.approx(0.05, abs=0.001)


@given(st.integers(1, 200), st.floats(0.01, 0.99), st.floats(0.0005, 0.2), st.floats(0.0005, 0.2))
@UNHURRIED
def test_more_hits_never_turn_a_claim_safer(trials, threshold, alpha_pass, alpha_fail):
    hits = sorted({0, 1, trials // 4, trials // 2, trials - 1, trials})
    ceiling = [ORDER[rate_at_most(k, trials, threshold, alpha_pass, alpha_fail).verdict] for k in hits]
    floor = [ORDER[rate_at_least(k, trials, threshold, alpha_pass, alpha_fail).verdict] for k in hits]
    assert ceiling == sorted(ceiling)
    assert floor == sorted(floor, reverse=True)


@given(st.integers(1, 200), st.data(), st.floats(0.01, 0.99))
@UNHURRIED
def test_bounds_enclose_the_estimate(trials, data, threshold):
    hits = data.draw(st.integers(0, trials))
    for decision in (rate_at_most(hits, trials, threshold), rate_at_least(hits, trials, threshold)):
        assert 0.0 <= decision.lower <= decision.estimate <= decision.upper <= 1.0


@given(st.integers(1, 120), st.data(), st.floats(0.02, 0.98), st.floats(0.0005, 0.2))
@UNHURRIED
def test_fail_is_a_small_p_value(trials, data, threshold, alpha):
    hits = data.draw(st.integers(0, trials))
    for decision in (
        rate_at_most(hits, trials, threshold, alpha, alpha),
        rate_at_least(hits, trials, threshold, alpha, alpha),
    ):
        assume(abs(decision.p_refuted - alpha) > 1e-9)  # a tie is a matter of rounding
        assert (decision.verdict == "FAIL") == (decision.p_refuted < alpha)


def test_a_p_value_is_the_binomial_tail():
    assert (
        rate_at_most(9, 24, 0.2).p_refuted
        == at_least_probability(9, 24, 0.2)
        == pytest.approx(stats.binomtest(9, 24, 0.2, "greater").pvalue)
    )
    assert rate_at_least(5, 16, 0.5).p_refuted == pytest.approx(stats.binomtest(5, 16, 0.5, "less").pvalue)


@pytest.mark.parametrize(
    ("hits", "trials", "ceiling", "verdict"),
    [(4, 192, 0.05, "PASS"), (5, 192, 0.05, "INCONCLUSIVE"), (0, 10, 0.05, "INCONCLUSIVE"), (60, 192, 0.05, "FAIL")],
)
def test_verdicts_of_the_standard_ceiling(hits, trials, ceiling, verdict):
    assert rate_at_most(hits, trials, ceiling).verdict == verdict


@pytest.mark.parametrize(("trials", "floor", "hits"), [(16, 0.5, 12), (48, 0.7, 40), (200, 0.8, 170), (2, 0.9, 3)])
def test_hits_that_prove_the_floors_of_the_policies(trials, floor, hits):
    assert [rate_at_least(k, trials, floor).verdict == "PASS" for k in range(trials + 1)] == [
        k >= hits for k in range(trials + 1)
    ]


def test_an_undecided_claim_says_how_many_images_a_fresh_audit_needs():
    undecided = rate_at_most(0, 30, 0.05)
    assert undecided.verdict == "INCONCLUSIVE"
    again = [rate_at_most(k, undecided.needed, 0.05, 0.025).verdict for k in range(undecided.needed + 1)]
    assert chance("PASS", again, 0.5 / 31) >= 0.95
    mirrored = rate_at_least(30, 30, 0.95)
    assert (mirrored.verdict, mirrored.needed) == ("INCONCLUSIVE", undecided.needed)


def test_nothing_is_needed_where_it_is_decided_or_hopeless():
    assert rate_at_most(0, 192, 0.05).needed is None
    assert rate_at_most(40, 192, 0.05).needed is None
    assert rate_at_most(12, 192, 0.05).needed is None  # the estimate itself is above the ceiling


def test_no_images_prove_nothing_either_way():
    nothing = rate_at_most(0, 0, 0.05)
    assert (nothing.verdict, nothing.estimate, nothing.refutable) == ("INCONCLUSIVE", None, False)
    assert harm_only(nothing).verdict == "INCONCLUSIVE"
    assert rate_at_least(0, 0, 0.7).verdict == "INCONCLUSIVE"


def test_proven_harm_fails_and_all_else_passes_with_the_burden_recorded():
    unproven = harm_only(rate_at_most(1, 12, 0.1))
    assert (unproven.verdict, unproven.burden, unproven.needed) == ("PASS", "prove harm", None)
    assert harm_only(rate_at_most(2, 12, 0.1)).verdict == "NO HARM PROVEN"
    harmed = harm_only(rate_at_most(12, 12, 0.1, alpha_fail=0.05 / 30))
    assert (harmed.verdict, harmed.burden) == ("FAIL", "prove harm")
    assert rate_at_most(2, 12, 0.1).burden == "prove safe"


def test_a_claim_that_nothing_could_refute_does_not_pass():
    toothless = rate_at_most(1, 1, 0.1, alpha_fail=0.01)  # even one hit of one is no proof at 1%
    assert not toothless.refutable
    assert harm_only(toothless).verdict == "INCONCLUSIVE"


def test_a_decision_holds_plain_values_only():
    decision = rate_at_most(np.int64(3), np.int32(30), np.float64(0.2), np.float64(0.05), np.float32(0.01))
    for value in dataclasses.asdict(decision).values():
        assert value is None or value == () or isinstance(value, StrEnum) or type(value) in (int, float, bool)
    record = claim_record(decision).to_json()
    for value in record.values():
        assert value == [] or type(value) in (str, int, float, bool)
    assert json.loads(json.dumps(record)) == record
    assert (record["kind"], record["hits"], record["burden"]) == ("rate_at_most", 3, "prove safe")


@pytest.mark.parametrize(
    "arguments",
    [
        (5, 4, 0.1),
        (-1, 4, 0.1),
        (1, 4, 0.0),
        (1, 4, 1.0),
        (1, 4, float("nan")),
        (1.5, 4, 0.1),
        (1, 4, 0.1, 0.0),
        (1, 4, 0.1, 0.05, 0.6),
    ],
)
@pytest.mark.parametrize("claim", [rate_at_most, rate_at_least])
def test_impossible_numbers_are_refused(claim, arguments):
    with pytest.raises(ValueError, match=r"must|cannot"):
        claim(*arguments)


@given(st.integers(0, 200), st.data(), st.sampled_from(["prove safe", "prove harm"]))
@UNHURRIED
def test_a_burden_never_turns_a_refuted_claim_into_a_pass_and_says_what_a_pass_is_worth(trials, data, burden):
    decision = rate_at_most(data.draw(st.integers(0, trials)), trials, 0.1, 0.05, 0.01)
    result = apply_burden(decision, burden)
    assert (result.verdict == "FAIL") is (decision.verdict == "FAIL")
    if burden == "prove safe":
        assert result == decision
    else:
        assert result.burden == "prove harm"
        over = (decision.estimate or 0.0) > 0.1
        unproven = "NO HARM PROVEN" if over else "PASS"
        assert result.verdict == ("FAIL" if decision.verdict == "FAIL" else unproven if decision.refutable else "INCONCLUSIVE")


def test_a_burden_of_another_name_is_refused():
    with pytest.raises(ValueError, match="'prove safe' or 'prove harm'"):
        apply_burden(rate_at_most(0, 10, 0.1), "prove safety")


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.floats(0.001, 0.3))
@UNHURRIED
def test_holm_rejects_what_its_step_down_rule_rejects(p_values, alpha):
    rejected = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected[index] = True
    assert [adjusted <= alpha for adjusted in holm(p_values)] == rejected


@pytest.mark.parametrize("p_values", [[0.1, 1.2], [-0.1], [float("nan")]])
def test_holm_refuses_what_is_no_p_value(p_values):
    with pytest.raises(ValueError, match=r"must"):
        holm(p_values)
