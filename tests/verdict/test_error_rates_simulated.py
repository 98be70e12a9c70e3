"""How often rules err that have no finite number of outcomes, or too many: few seeded draws here, 10,000 a line in `benchmarks/error_rates.py`.

Every limit is one that a rule at its nominal error rate stays under with a probability of more than 1 - 1e-6.
"""

import numpy as np
import pytest
from scipy import stats

from dmun_audit.verdict.paired import accuracy_loss_at_most, mean_difference_at_most
from dmun_audit.verdict.sequential import SequentialClaim, decide_sequentially, look_schedule

DRAWS = 400
MOST = int(stats.binom.isf(1e-6, DRAWS, 0.05))  # errors that a 5% rule makes at most
CONCEPTS, ROUNDS = 10, 16


def scores(kind, generator):
    """CLIP score differences (concepts, rounds) whose mean over all is exactly the margin of .02."""
    if kind == "narrow":
        return generator.normal(0.02, 0.03, (CONCEPTS, ROUNDS))
    if kind == "rare losses":
        return np.where(generator.random((CONCEPTS, ROUNDS)) < 0.1, 0.2, 0.0)
    if kind == "rare gains":
        return np.where(generator.random((CONCEPTS, ROUNDS)) < 0.1, -0.16, 0.04)
    means = np.r_[np.zeros(CONCEPTS - 1), 0.2]  # one concept is ruined
    return means[:, None] + np.zeros((CONCEPTS, ROUNDS))


@pytest.mark.parametrize("kind", ["narrow", "rare losses", "rare gains", "one concept"])
def test_a_claim_on_clip_scores_errs_no_more_often_than_it_says_even_if_it_is_looked_at_after_every_round(kind):
    generator = np.random.default_rng(0)
    passed = failed = 0
    for _ in range(DRAWS // 4):
        drawn = scores(kind, generator)
        verdicts = [mean_difference_at_most(drawn[:, :end].ravel(), 0.02).verdict for end in (4, 8, 12, 16)]
        passed += "PASS" in verdicts
        failed += "FAIL" in verdicts
    most = int(stats.binom.isf(1e-6, DRAWS // 4, 0.05))
    assert passed <= most
    assert failed <= most


def test_the_claim_on_clip_scores_has_power():
    generator = np.random.default_rng(1)
    verdicts = [mean_difference_at_most(generator.normal(0.0, 0.03, 160), 0.02).verdict for _ in range(50)]
    assert verdicts.count("PASS") > 40


def pairs(losses, gains, generator):
    """Outcomes of pairs (concepts, rounds) of concepts with these probabilities."""
    drawn = generator.random((CONCEPTS, ROUNDS))
    losses, gains = np.asarray(losses)[:, None], np.asarray(gains)[:, None]
    return np.where(drawn < losses, 1, np.where(drawn > 1 - gains, -1, 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("losses", "gains"),
    [
        ([0.15] * 10, [0.0] * 10),
        ([0.3] * 10, [0.15] * 10),
        ([1.0, 0.5] + [0.0] * 8, [0.0] * 10),
        ([0.6] * 5 + [0.0] * 5, [0.0] * 5 + [0.3] * 5),
    ],
    ids=["equal", "with gains", "two ruined", "losses here, gains there"],
)
def test_paired_claims_at_their_margin_err_no_more_often_than_they_say(losses, gains):
    assert np.mean(losses) - np.mean(gains) == pytest.approx(0.15)
    generator = np.random.default_rng(2)
    claim = SequentialClaim("paired", 0.15, 0.15, 0.05, 0.05)
    errors = {"fixed PASS": 0, "fixed FAIL": 0, "early PASS": 0, "early FAIL": 0}
    for _ in range(DRAWS):
        drawn = pairs(losses, gains, generator)
        fixed = accuracy_loss_at_most(int((drawn == 1).sum()), int((drawn == -1).sum()), drawn.size, 0.15)
        early = decide_sequentially(claim, drawn.tolist(), look_schedule(ROUNDS, 1, 1), ROUNDS)
        errors["fixed " + fixed.verdict] = errors.get("fixed " + fixed.verdict, 0) + 1
        errors["early " + early.verdict] = errors.get("early " + early.verdict, 0) + 1
    assert max(errors[name] for name in ("fixed PASS", "fixed FAIL", "early PASS", "early FAIL")) <= MOST


def test_paired_claims_have_power_on_either_side():
    generator = np.random.default_rng(3)
    claim = SequentialClaim("paired", 0.15, 0.15, 0.05, 0.05)
    kept = [
        decide_sequentially(claim, pairs([0.02] * 10, [0.0] * 10, generator).tolist(), look_schedule(ROUNDS, 8, 8), ROUNDS)
        for _ in range(50)
    ]
    lost = [
        decide_sequentially(claim, pairs([0.6] * 10, [0.0] * 10, generator).tolist(), look_schedule(ROUNDS, 8, 8), ROUNDS)
        for _ in range(50)
    ]
    assert sum(stop.verdict == "PASS" for stop in kept) > 45
    assert sum(stop.verdict == "FAIL" for stop in lost) > 45
