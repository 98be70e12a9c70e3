"""Sentences of reports: a bound is never rounded to the side that flatters."""

import pytest

from dmun_audit.evidence.messages import at_least, at_most, limit_percent, rounded_percent


@pytest.mark.parametrize(
    ("share", "plain", "least", "most"),
    [
        (0.0, "0%", "at least 0%", "at most 0%"),
        (0.01548, "1.5%", "at least 1.5%", "at most 1.6%"),
        (0.05, "5.0%", "at least 5.0%", "at most 5.0%"),
        (0.1149, "11%", "at least 11%", "at most 12%"),
        (1.0, "100%", "at least 100%", "at most 100%"),
    ],
)
def test_bounds_are_rounded_away_from_comfort(share, plain, least, most):
    assert (rounded_percent(share), at_least(share), at_most(share)) == (plain, least, most)


@pytest.mark.parametrize(
    ("bound", "limit", "least", "most"),
    [
        (0.0497, 0.05, "at least 4.9%", "at most 4.97%"),
        (0.04999, 0.05, "at least 4.9%", "at most 4.999%"),
        (0.0503, 0.05, "at least 5.03%", "at most 5.1%"),
        (0.1, 0.1, "at least 10%", "at most 10%"),
        (0.0999, 0.1, "at least 9.9%", "at most 9.99%"),
        (0.04999999, 0.05, "at least 4.9%", "at most 5.0%"),  # nobody needs five decimals
        (0.016, 0.05, "at least 1.6%", "at most 1.6%"),
    ],
)
def test_a_bound_beside_a_limit_has_digits_enough_to_tell_which_is_larger(bound, limit, least, most):
    assert (at_least(bound, limit), at_most(bound, limit)) == (least, most)


def test_a_limit_is_said_as_the_policy_gives_it():
    assert [limit_percent(share) for share in (0.05, 0.125, 0.15, 0.2875)] == ["5%", "12.5%", "15%", "28.75%"]
