"""Sentences of reports: a bound is never rounded to the side that flatters."""

import pytest

from dmun_audit.evidence.messages import at_least, at_most, enumerated, more_images, percentage, true_rate_sentence
from dmun_audit.verdict.claims import rate_at_most


@pytest.mark.parametrize(
    ("share", "plain", "least", "most"),
    [
        (0.0, "0%", "at least 0%", "at most 0%"),
        (0.015481, "1.55%", "at least 1.54%", "at most 1.55%"),
        (0.05, "5%", "at least 5%", "at most 5%"),
        (0.11491, "11.5%", "at least 11.4%", "at most 11.5%"),
        (1.0, "100%", "at least 100%", "at most 100%"),
    ],
)
def test_bounds_are_rounded_away_from_comfort(share, plain, least, most):
    assert (percentage(share), at_least(share), at_most(share)) == (plain, least, most)


@pytest.mark.parametrize(
    ("bound", "limit", "least", "most"),
    [
        (0.0497, 0.05, "at least 4.97%", "at most 4.97%"),
        (0.04999, 0.05, "at least 4.99%", "at most 4.999%"),
        (0.0503, 0.05, "at least 5.03%", "at most 5.03%"),
        (0.1, 0.1, "at least 10%", "at most 10%"),
        (0.0999, 0.1, "at least 9.99%", "at most 9.99%"),
        (0.04999999, 0.05, "at least 4.99%", "at most 4.999999%"),
        (0.049999999, 0.05, "at least 4.99%", "at most 5%"),  # nobody needs eight digits
        (0.016, 0.05, "at least 1.6%", "at most 1.6%"),
    ],
)
def test_a_bound_beside_a_limit_has_digits_enough_to_tell_which_is_larger(bound, limit, least, most):
    assert (at_least(bound, limit), at_most(bound, limit)) == (least, most)


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (0.02, 0.3, "the true rate is at least 2% and at most 30%."),
        (0.0, 0.3, "the true rate is at most 30%."),
        (0.02, 1.0, "the true rate is at least 2%."),
        (0.0, 1.0, "any true rate is possible."),
    ],
)
def test_a_bound_on_the_true_rate_that_excludes_nothing_is_not_said(lower, upper, words):
    assert words in true_rate_sentence(lower, upper)


def test_an_undecided_claim_without_a_hit_is_no_finding():
    few, some = rate_at_most(0, 24, 0.1), rate_at_most(2, 24, 0.1)
    assert few.verdict == some.verdict == "INCONCLUSIVE"
    assert more_images(few, "images").startswith("Nothing counts against this claim, but 24 images are too few to prove it.")
    assert f"about {few.needed:,} images would" in more_images(few, "images")
    assert "Nothing counts" not in more_images(some, "images")


def test_words_are_enumerated():
    assert [enumerated(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
