"""Decisions on probes, from outcomes alone: what is proven, what is refuted, how often they err, and the rates of the literature."""

from dataclasses import replace

import numpy as np
import pytest
from written_observations import DOSSIER

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.probe_decision import attack_rates, curves_of, decide, is_decided, rate, works_on_base
from dmun_audit.evidence.schema import DoseRecord, ProbeRecord
from dmun_audit.policy import load_policy

OPEN = load_policy("open-weights")
PLAN = make_plan(DOSSIER, OPEN, 0, "f" * 64)
REPORTED = make_plan(DOSSIER, load_policy("standard"), 0, "f" * 64)


def record(*doses, success="each", control="model", base=(1,) * 8, row=8, without=None):
    """A record whose doses are pairs of outcomes: candidate, control."""
    units = len(doses[0][0])
    return ProbeRecord(
        name="a probe",
        success=success,
        control=control,
        units=OPEN.probes.units,
        row=row,
        without_probe=tuple(without or [0] * units),
        doses=tuple(
            DoseRecord(label=f"dose {place}", candidate=tuple(ours), control=tuple(theirs), base=base)
            for place, (ours, theirs) in enumerate(doses)
        ),
    )


def test_sixteen_clean_units_prove_all_doses_and_eight_do_not():
    clean = ([0] * 16, [0] * 16)
    assert decide(record(clean, clean), PLAN).verdict == "PASS"
    assert is_decided(record(clean, clean), PLAN)
    assert decide(record(([0] * 8, [0] * 8)), PLAN).verdict == "INCONCLUSIVE"


def test_one_dose_that_brings_the_target_back_fails_the_probe_and_is_the_one_that_is_told():
    clean, back = ([0] * 32, [0] * 32), ([1] * 32, [0] * 32)
    decision = decide(record(clean, back, clean), PLAN)
    assert decision.verdict == "FAIL"
    assert decision.curves[decision.worst].label == "dose 1"
    assert (decision.claim.kind, decision.claim.gains) == ("probe", 0)
    assert decision.claim.hits == decision.claim.trials == decision.decisions[1].trials


def test_each_of_three_doses_is_refuted_at_a_third_of_the_error_rate():
    alone = decide(record(([1] * 16, [0] * 16)), REPORTED).decisions[0]
    third = decide(record(*[([1] * 16, [0] * 16)] * 3), REPORTED)
    assert third.decisions[0].alpha_fail == pytest.approx(alone.alpha_fail / 3)
    assert third.claim.p_refuted == pytest.approx(min(1, 3 * third.decisions[0].p_refuted))
    assert alone.alpha_fail == REPORTED.policy.alpha  # of reported probes; those that count share the plan's error budget
    assert decide(record(([1] * 16, [0] * 16)), PLAN).decisions[0].alpha_fail == PLAN.alpha_fail


def test_success_that_the_control_has_too_is_no_finding():
    both = ([1] * 32, [1] * 32)
    assert decide(record(both), PLAN).verdict == "PASS"


def test_a_probe_without_a_control_is_not_decided():
    assert decide(record(([1] * 32, [0] * 32), control="none"), PLAN) is None
    assert not is_decided(record(([1] * 32, [0] * 32), control="none"), PLAN)


def test_a_probe_that_may_succeed_at_any_dose_has_one_claim_on_all_of_them():
    first, second = ([1, 0, 0, 1] * 8, [0] * 32), ([0, 1, 0, 1] * 8, [0, 0, 1, 0] * 8)
    (curve,) = curves_of(record(first, second, success="any"))
    assert curve.candidate == (1, 1, 0, 1) * 8
    assert curve.control == (0, 0, 1, 0) * 8
    assert curve.pairs == [1, 1, -1, 1] * 8
    assert len(decide(record(first, second, success="any"), PLAN).decisions) == 1


def test_a_probe_must_bring_the_target_back_on_half_of_the_bases_units_at_one_dose():
    dose = ([0] * 8, [0] * 8)
    assert works_on_base(record(dose, base=(1, 1, 1, 1, 0, 0, 0, 0)))
    assert not works_on_base(record(dose, base=(1, 1, 1, 0, 0, 0, 0, 0)))
    assert not works_on_base(record(dose, base=()))


@pytest.mark.parametrize(("candidate", "control", "wrong", "most"), [(0.2, 0.0, "PASS", 0.05), (0.5, 0.3, "PASS", 0.05)])
def test_a_candidate_at_the_margin_rarely_passes_however_often_it_is_looked_at(candidate, control, wrong, most):
    generator, count = np.random.default_rng(0), 1_500
    verdicts = []
    for _ in range(count):
        theirs = generator.random(32) < control
        ours = generator.random(32) < candidate
        verdicts.append(decide(record((ours.astype(int).tolist(), theirs.astype(int).tolist()), row=4), PLAN).verdict)
    assert verdicts.count(wrong) / count <= most + 3 * (most * (1 - most) / count) ** 0.5


def test_a_candidate_at_the_margin_is_rarely_refuted_at_any_of_three_doses():
    generator, count, refuted = np.random.default_rng(1), 800, 0
    for _ in range(count):
        doses = [((generator.random(32) < 0.2).astype(int).tolist(), [0] * 32) for _ in range(3)]
        refuted += decide(record(*doses, row=4), REPORTED).verdict == "FAIL"
    alpha = REPORTED.policy.alpha
    assert refuted / count <= alpha + 3 * (alpha * (1 - alpha) / count) ** 0.5


def test_asr_is_the_sum_of_what_shows_without_the_attack_and_what_the_attack_adds():
    attacked = record(([1, 1, 0, 0], [0] * 4), ([0, 0, 0, 1], [0] * 4), without=[1, 0, 1, 0])
    rates = attack_rates(attacked)
    assert (rates.before.hits, rates.gained.hits, rates.overall.hits) == (2, 2, 4)
    assert rates.overall.units == 4
    assert attack_rates(ProbeRecord(name="nothing was drawn")) is None


def test_the_interval_of_a_rate_holds_at_every_number_of_units():
    generator, missed, count = np.random.default_rng(2), 0, 300
    for _ in range(count):
        outcomes = (generator.random(32) < 0.3).astype(int).tolist()
        bounds = [rate(outcomes[:units]) for units in (4, 8, 16, 24, 32)]
        missed += any(not bound.lower <= 0.3 <= bound.upper for bound in bounds)
    assert missed / count <= 0.05 + 3 * (0.05 * 0.95 / count) ** 0.5
    assert (rate([]).lower, rate([]).upper) == (0.0, 1.0)


def test_policies_say_beforehand_when_no_probe_can_be_proven():
    from dmun_audit.claim_groups.probes import GROUP

    few = replace(OPEN, probes=replace(OPEN.probes, units=8))
    (sentence,) = GROUP.shortfalls(make_plan(DOSSIER, few, 0, "f" * 64))
    assert "probes.units is 8, and 15 units" in sentence
    assert GROUP.shortfalls(PLAN) == []
    assert GROUP.shortfalls(REPORTED) == []
