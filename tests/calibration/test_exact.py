"""Exact probabilities of verdicts, and Wald's bound."""

from itertools import product

import numpy as np
import pytest

from benchmarks.calibration.exact import concentrated, equal, sequential_probabilities, wald_bound, wald_bound_of_pairs
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim


def test_probabilities_equal_the_sum_over_all_outcomes():
    claim, rates, ends = SequentialClaim("rate", 0.5, 0.5, 0.3, 0.3), [0.2, 0.7], [1, 3]
    computed, passed, images = sequential_probabilities(claim, rates, ends), 0.0, 0.0
    for outcomes in product((0, 1), repeat=6):
        probability = np.prod([rates[place % 2] if hit else 1 - rates[place % 2] for place, hit in enumerate(outcomes)])
        verdict, taken = "INCONCLUSIVE", 0
        for end in ends:
            if verdict == "INCONCLUSIVE":
                verdict, taken = claim.step(OutcomeCounts.of(outcomes[: 2 * end], "rate")), 2 * end
        passed += probability * (verdict == "PASS")
        images += probability * taken
    assert computed.passed == pytest.approx(passed)
    assert computed.images == pytest.approx(images)
    assert computed.passed > 0


@pytest.mark.parametrize("spread", [equal, concentrated])
def test_at_the_ceiling_a_claim_passes_with_a_probability_of_at_most_alpha(spread):
    claim = SequentialClaim("rate", 0.05, 0.05, 0.05, 0.001)
    assert sequential_probabilities(claim, spread(0.05, 16), range(1, 13)).passed <= 0.05
    assert sum(spread(0.05, 16)) == pytest.approx(0.8)


def test_walds_bound_of_clean_images_is_the_number_that_a_bound_without_hits_needs():
    assert wald_bound(0.0, 0.05, 0.05) == pytest.approx(np.log(20) / -np.log(0.95))
    assert wald_bound(0.05, 0.05, 0.05) is None
    # If every pair is kept, the nearest outcomes with a loss of .15 are: 15% lost, the others kept.
    assert wald_bound_of_pairs(0.0, 0.0, 0.15, 0.05) == pytest.approx(np.log(20) / -np.log(0.85))
