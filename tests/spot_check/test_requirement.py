"""Claims that pass only with a spot-check: what labels must show, and how often a false claim is supported."""

import numpy as np
import pytest

from dmun_audit.spot_check.claims import RateClaim
from dmun_audit.spot_check.requirement import labels_for_support, supported_rate
from dmun_audit.verdict.finite_population import StratumSample
from dmun_audit.verdict.vocabulary import Stopping

ALPHA, CEILING = 0.05, 0.05


def claim(hits, trials):
    return RateClaim(hits, trials, CEILING, ALPHA / 2, Stopping.FIXED)


def test_without_labels_every_image_may_show_the_target():
    assert supported_rate(claim(0, 200), StratumSample(200, 0, 0)) == 1.0


def test_all_labels_without_a_miss_leave_the_bound_of_the_judge():
    assert supported_rate(claim(1, 200), StratumSample(199, 199, 0)) == claim(1, 200).upper_bound(1)


def test_a_miss_and_an_answer_that_nobody_could_give_count_against_the_claim():
    clean, missed, unsure = (
        supported_rate(claim(0, 300), StratumSample(300, 200, *counts)) for counts in ((0, 0), (1, 0), (0, 1))
    )
    assert clean < missed == unsure


def test_the_labels_that_are_asked_for_are_enough_and_one_fewer_is_not():
    needed = labels_for_support(claim(0, 300), 300)
    assert supported_rate(claim(0, 300), StratumSample(300, needed, 0)) <= CEILING
    assert supported_rate(claim(0, 300), StratumSample(300, needed - 1, 0)) > CEILING
    assert labels_for_support(claim(0, 60), 60) is None


@pytest.mark.slow
@pytest.mark.parametrize("sensitivity", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("labelled", [60, 150, 240])
def test_a_claim_at_its_ceiling_is_supported_no_more_often_than_the_policy_allows(sensitivity, labelled):
    draws, trials, supported = 10_000, 240, 0
    generator = np.random.default_rng([int(10 * sensitivity), labelled])
    shown = generator.binomial(trials, CEILING, draws)
    detected = generator.binomial(shown, sensitivity)
    for hits, misses in zip(detected, shown - detected, strict=True):
        population = trials - int(hits)
        sample = min(labelled, population)
        seen = int(generator.hypergeometric(int(misses), population - int(misses), sample))
        supported += supported_rate(claim(int(hits), trials), StratumSample(population, sample, seen)) <= CEILING
    assert supported / draws <= ALPHA
