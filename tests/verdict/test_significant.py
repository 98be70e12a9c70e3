"""Numbers for readers: rounded outward, and never equal to a limit from which they differ."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit.verdict.scales import scale_of
from dmun_audit.verdict.significant import percent, percent_as_given, points, points_as_given, rounded, told_apart


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.11765), "11.8%"),
        (percent(0.11765, math.floor), "11.7%"),
        (percent(0.117, math.ceil), "11.7%"),
        (percent(0.04998, math.ceil, 0.05), "4.998%"),
        (percent(0.05, math.ceil, 0.05), "5%"),
        (percent(0.0), "0%"),
        (percent(1.0), "100%"),
        (percent(0.999999, math.floor), "99.9%"),
        (percent_as_given(0.12345), "12.345%"),
        (points(0.0357), "3.57 points"),
        (points(-0.031, math.floor), "-3.1 points"),
        (points(0.01), "1 point"),
        (points_as_given(0.25), "25 points"),
    ],
)
def test_numbers_read_as_they_should(text, expected):
    assert text == expected


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_a_bound_is_rounded_outward_and_stays_on_its_side_of_the_limit(bound, limit):
    upper, lower = told_apart(bound, limit, math.ceil), told_apart(bound, limit, math.floor)
    assert lower <= bound * (1 + 1e-6)
    assert upper >= bound * (1 - 1e-6)
    assert rounded(bound, math.floor) <= bound * (1 + 1e-6) <= rounded(bound, math.ceil) * (1 + 2e-6)
    if abs(bound - limit) > 1e-4 * limit:  # digits enough to tell them apart
        assert (upper > limit) is (lower > limit) is (bound > limit)
        assert limit not in (upper, lower)


@pytest.mark.parametrize(
    ("bound", "limit", "towards", "shown"),
    [(0.12344, 0.12345, math.ceil, "12.344%"), (0.12346, 0.12345, math.floor, "12.346%"), (0.04998, 0.05, math.ceil, "4.998%")],
)
def test_a_bound_beside_a_limit_of_many_digits_does_not_cross_it(bound, limit, towards, shown):
    assert percent(bound, towards, limit) == shown


@pytest.mark.parametrize("value", [1e-320, -1e-320, 1e-13, 0.0])
def test_what_is_nearly_nothing_is_nothing(value):
    assert percent(value, math.floor) == percent(value, math.ceil) == "0%"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("rate_at_most", "25%"),
        ("paired_accuracy", "25 points"),
        ("baseline", "25 points"),
        ("paired_score", "0.25"),
        ("new", "0.25"),
    ],
)
def test_each_kind_of_claim_has_its_scale(kind, text):
    assert scale_of(kind).as_given(0.25) == text
    assert scale_of(kind).rounded(0.25) == text
