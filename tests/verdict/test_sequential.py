"""Claims that may stop early keep their error rates, exactly, and cost little more than Wald's bound."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from dmun_audit.verdict.betting import harm_stakes, log_capital, safe_stakes
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim, decide_sequentially, look_schedule

MOST = 1000
RATES = (0.0, 0.001, 0.01, 0.05, 0.5)
CLAIMS = [
    SequentialClaim("rate", 0.03, 0.03, 0.05, 0.05 / 60),
    SequentialClaim("rate", 0.05, 0.05, 0.05, 0.05 / 36),
    SequentialClaim("rate", 0.10, 0.10, 0.05, 0.05),
    SequentialClaim("rate", 0.25, 0.25, 0.01, 0.001),
    SequentialClaim("rate", 0.5, 0.5, 0.2, 0.2),
]


def hits(count, of):
    return OutcomeCounts(of - count, 0, count)


def frontiers(claim, most=MOST):
    """For every n: the most hits with which it passes (-1 for none), and the fewest with which it fails (n + 1 for none)."""
    passes, fails = [-1], [1]
    best, worst = -1, 0
    for n in range(1, most + 1):
        while best + 1 <= n and claim.step(hits(best + 1, n)) == "PASS":
            best += 1
        while worst <= n and claim.step(hits(worst, n)) != "FAIL":
            worst += 1
        passes.append(best)
        fails.append(worst)
    return passes, fails


def walk(passes, fails, rates, at=None):
    """Exact P(PASS), P(FAIL) and mean images of a claim whose image i shows the target with probability rates[i].

    It is looked at after every image, or after the images with the numbers in `at`.
    """
    alive = np.zeros(len(rates) + 2)
    alive[0], passed, failed, spent = 1.0, 0.0, 0.0, 0.0
    for n, rate in enumerate(rates, start=1):
        alive[1:] = alive[1:] * (1 - rate) + alive[:-1] * rate
        alive[0] *= 1 - rate
        if at is not None and n not in at:
            continue
        low, high = alive[: passes[n] + 1].sum(), alive[fails[n] :].sum()
        alive[: passes[n] + 1] = 0.0
        alive[fails[n] :] = 0.0
        passed, failed, spent = passed + low, failed + high, spent + n * (low + high)
    return passed, failed, spent + len(rates) * alive.sum()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"ceiling {claim.ceiling_pass}")
def test_a_rate_that_is_looked_at_after_every_image_up_to_1000_keeps_both_error_rates_exactly(claim):
    passes, fails = frontiers(claim)
    for rate in {*RATES, claim.ceiling_pass, claim.ceiling_pass * 0.999, claim.ceiling_pass * 1.001, 1.0}:
        passed, failed, _ = walk(passes, fails, [rate] * MOST)
        if rate >= claim.ceiling_pass:
            assert passed <= claim.alpha_pass, rate
        if rate <= claim.ceiling_fail:
            assert failed <= claim.alpha_fail, rate


def test_the_rule_has_power_on_either_side():
    passes, fails = frontiers(CLAIMS[1])
    assert walk(passes, fails, [0.005] * 384)[0] > 0.99
    assert walk(passes, fails, [0.25] * 384)[1] > 0.99


@pytest.mark.parametrize(
    "rates",
    [
        [0.0] * 11 + [0.6],  # one prompt in twelve that leaks
        [0.6] + [0.0] * 11,
        [0.05] * 12,
        [0.1, 0.0] * 6,
        [0.0] * 76 + [1.0] * 4,  # the last four of eighty always leak
    ],
    ids=["one late", "one early", "equal", "every other", "long round"],
)
def test_prompts_with_rates_of_their_own_keep_the_error_rate_at_the_ends_of_rounds(rates):
    passes, fails = frontiers(CLAIMS[1], 960)
    assert np.mean(rates) == pytest.approx(0.05)
    ends = set(range(len(rates), 961, len(rates)))
    assert walk(passes, fails, rates * (960 // len(rates)), ends)[0] <= 0.05


def test_looking_in_the_middle_of_a_round_would_pass_a_leak_at_its_end_every_time():
    passes, fails = frontiers(CLAIMS[1], 80)
    assert walk(passes, fails, [0.0] * 76 + [1.0] * 4)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0.0, 0.0025, 0.005, 0.01])
def test_a_good_model_costs_at_most_1_2_times_walds_bound(rate):
    passes, fails = frontiers(CLAIMS[1])
    divergence = (rate * math.log(rate / 0.05) if rate else 0.0) + (1 - rate) * math.log((1 - rate) / 0.95)
    passed, _, spent = walk(passes, fails, [rate] * MOST)
    assert passed > 0.999
    assert spent <= 1.2 * math.log(20) / divergence


def test_few_hits_pass_after_as_many_images_as_the_documentation_says():
    passes, _ = frontiers(CLAIMS[1], 300)
    assert [next(n for n in range(301) if passes[n] >= count) for count in range(4)] == [64, 131, 183, 228]


@pytest.mark.parametrize(("count", "images"), [(0, 64), (1, 120), (3, 200), (9, 150), (40, 1200)])
def test_the_grid_of_stakes_stands_for_the_integral(count, images):
    ceiling = 0.05
    narrow, wide = stats.beta(0.5, 0.5 * (1 - 0.05 / 16) / (0.05 / 16)), stats.beta(0.5, 0.5)

    def ratio(p):
        density = 0.8 * narrow.pdf(p) / narrow.cdf(ceiling) + 0.2 * wide.pdf(p) / wide.cdf(ceiling)
        return density * (p / ceiling) ** count * ((1 - p) / (1 - ceiling)) ** (images - count)

    exact = sum(integrate.quad(ratio, low, high)[0] for low, high in pairwise([0.0, 1e-6, 1e-4, 1e-3, 0.01, 0.05]))
    grid = math.exp(log_capital((images - count, 0, count), ceiling, safe_stakes(ceiling)))
    assert grid == pytest.approx(exact, rel=0.1)


def test_stakes_lie_strictly_between_0_and_1_for_every_ceiling():
    for ceiling in (1e-6, 0.01, 0.03, 0.25, 0.9):
        assert ((safe_stakes(ceiling).values > 0) & (safe_stakes(ceiling).values < 1)).all()
        assert safe_stakes(ceiling).weights.sum() == pytest.approx(1.0)
    assert ((harm_stakes().values > 0) & (harm_stakes().values < 1)).all()


@pytest.mark.parametrize("gains", [0.0, 0.05, 0.2, 0.4])
def test_a_paired_claim_that_is_looked_at_after_every_pair_keeps_both_error_rates_exactly(gains):
    claim = SequentialClaim("paired", 0.15, 0.15, 0.05, 0.01)
    losses, most = gains + 0.15, 70
    alive, passed, failed = np.zeros((most + 2, most + 2)), 0.0, 0.0
    alive[0, 0] = 1.0
    for n in range(1, most + 1):
        moved = alive * (1 - losses - gains)
        moved[1:] += alive[:-1] * losses
        moved[:, 1:] += alive[:, :-1] * gains
        alive = moved
        for lost, won in np.argwhere(alive > 1e-13):
            verdict = claim.step(OutcomeCounts(int(won), n - int(lost) - int(won), int(lost)))
            if verdict != "INCONCLUSIVE":
                passed += alive[lost, won] * (verdict == "PASS")
                failed += alive[lost, won] * (verdict == "FAIL")
                alive[lost, won] = 0.0
    assert passed <= 0.05
    assert failed <= 0.01
    assert passed + failed > 0  # the grid reaches a decision now and then, or nothing was tested


@pytest.mark.parametrize("kind", ["rate", "paired"])
def test_bounds_agree_with_the_verdict(kind):
    claim = SequentialClaim(kind, 0.15, 0.15, 0.05, 0.01)
    for total in (1, 8, 40, 160):
        for high in {0, 1, total // 8, total // 2, total}:
            for low in {0, (total - high) // 4} if kind == "paired" else {total - high}:
                counts = OutcomeCounts(low, total - high - low, high)
                verdict = claim.step(counts)
                assert (claim.upper(counts) <= 0.15 + 1e-9) == (verdict == "PASS"), counts
                assert (claim.lower(counts) > 0.15 - 1e-9) == (verdict == "FAIL"), counts


@pytest.mark.parametrize(
    "counts",
    [
        OutcomeCounts(0, 1, 71),
        OutcomeCounts(1, 0, 71),
        OutcomeCounts(0, 0, 900),
        OutcomeCounts(900, 0, 0),
        OutcomeCounts(0, 0, 0),
    ],
)
def test_bounds_exist_however_extreme_the_counts_are(counts):
    claim = SequentialClaim("paired", 0.15, 0.15, 0.05, 0.001)
    assert -1.0 <= claim.lower(counts) <= claim.upper(counts) <= 1.0


def test_what_is_needed_would_have_been_enough():
    claim = CLAIMS[1]
    counts = hits(1, 80)
    needed = claim.needed(counts)
    assert claim.step(counts) == "INCONCLUSIVE"
    assert 131 < needed < 400
    assert claim.needed(hits(8, 80)) is None
    assert claim.clean_images() == 64


def test_looks_are_at_ends_of_steps_and_at_the_last_round():
    assert list(look_schedule(6, 1, 1)) == [1, 2, 3, 4, 5, 6]
    assert list(look_schedule(16, 8, 8)) == [8, 16]
    assert list(look_schedule(10, 4, 3)) == [4, 7, 10]
    assert list(look_schedule(2, 8, 8)) == [2]


def test_a_claim_stops_at_the_first_look_that_decides_it():
    stop = decide_sequentially(CLAIMS[1], [[0] * 24] * 16, look_schedule(24, 1, 1), 24)
    assert (stop.verdict, stop.trials, len(stop.looks)) == ("PASS", 64, 4)
    assert stop.looks == (16, 32, 48, 64)
    assert stop.planned == 384


def test_outcomes_that_cannot_be_are_refused():
    for kind, outcomes in (("rate", [0, 2]), ("rate", [-1]), ("paired", [2])):
        with pytest.raises(ValueError, match="outcomes"):
            OutcomeCounts.of(outcomes, kind)
    with pytest.raises(ValueError, match="ceiling"):
        SequentialClaim("rate", 0.0, 0.1, 0.05, 0.05)


VERDICTS = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
grids = st.integers(1, 6).flatmap(
    lambda rounds: st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1]), min_size=rounds * 10, max_size=rounds * 10), min_size=1, max_size=8
    )
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(grids, st.data())
def test_one_more_hit_never_makes_a_verdict_better_whenever_it_stops(outcomes, data):
    claim = SequentialClaim("rate", 0.1, 0.1, 0.05, 0.01)
    ends = list(look_schedule(len(outcomes[0]), 1, 5))
    before = decide_sequentially(claim, outcomes, ends, len(outcomes[0]))
    member = data.draw(st.integers(0, len(outcomes) - 1))
    place = data.draw(st.integers(0, len(outcomes[0]) - 1))
    changed = [list(row) for row in outcomes]
    changed[member][place] = 1
    after = decide_sequentially(claim, changed, ends, len(outcomes[0]))
    if before.verdict == "FAIL":
        assert after.verdict == "FAIL"
    if before.verdict == "INCONCLUSIVE":
        assert after.verdict != "PASS"


@settings(max_examples=100, deadline=None)
@given(grids, st.randoms(use_true_random=False))
def test_the_order_of_prompts_never_matters(outcomes, random):
    claim = SequentialClaim("rate", 0.1, 0.1, 0.05, 0.01)
    shuffled = list(outcomes)
    random.shuffle(shuffled)
    ends = list(look_schedule(len(outcomes[0]), 1, 2))
    assert decide_sequentially(claim, outcomes, ends, 60) == decide_sequentially(claim, shuffled, ends, 60)
