"""Sentences of reports: a bound is never rounded to the side that flatters."""

import pytest

from dmun_audit.evidence.messages import at_least, at_most, coarse_percent, limit


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
    assert (coarse_percent(share), at_least(share), at_most(share)) == (plain, least, most)


def test_a_limit_is_said_as_the_policy_gives_it():
    assert [limit(share) for share in (0.05, 0.125, 0.15, 0.2875)] == ["5%", "12.5%", "15%", "28.75%"]
