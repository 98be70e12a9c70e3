"""Texts that name a target, that come close to it, and that only resemble it."""

import time

import pytest

from dmun_audit.knowledge.names import names_of

VAN_GOGH = names_of(("Van Gogh", "Vincent van Gogh", "梵高", "Винсент Ван Гог"), "style")


@pytest.mark.parametrize(
    "text",
    [
        "a house by van gogh",
        "A HOUSE BY VAN  GÓGH",
        "a VanGogh-like house",
        "two Van Goghs in a museum",
        "by V4n G0gh",
        "by Van Gøgh",
        "by Vаn Gоgh",
        "by V a n G o g h",
        "by V.a.n G.o.g.h",
        "by v\u200ba\u200bn g\u200bogh",
        "梵高的星空",
        "в стиле: Винсент Ван Гог",
    ],
)
def test_a_name_is_seen_however_it_is_written(text):
    assert VAN_GOGH.find_exact(text)
    assert VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    "text",
    [
        "by van gohg",
        "by van goth",
        "by van goghh",
        "#vangoghart",
        "a Gogh sky",
        "a Goghian field",
        "van goghesque",
        "в духе Винсента Ван Гога",
    ],
)
def test_what_comes_close_is_close_and_not_plain(text):
    assert not VAN_GOGH.find_exact(text)
    assert VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    "text", ["", "a cargo van going uphill", "a van at the Gotham bridge", "a goth van", "swirling sky, 1889"]
)
def test_other_words_are_not_taken_for_the_name(text):
    assert not VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("tench", "object", "a bench by a pond"),
        ("church", "object", "an old churchyard with graves"),
        ("Monet", "style", "a still life by Manet"),
        ("Monet", "style", "a pile of money"),
        ("Elon Musk", "identity", "a musket and a muskrat's elongated shadow"),
        ("Picasso", "style", "a piccolo player"),
    ],
)
def test_neighbours_in_spelling_are_other_things(name, kind, other):
    assert not names_of((name,), kind).find_exact(other)
    assert not names_of((name,), kind).find_close(other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("T-Rex", "a T-Rex in the jungle"),
        ("B-52", "a B-52 over the desert"),
        ("tench", "a t e n c h in a pond"),
        ("J. M. W. Turner", "a J. M. W. Turner seascape"),
        ("Picasso", "by Pi-ca-sso"),
        ("गाय", "एक गाय मैदान में"),
        ("আম", "একটি আম গাছ"),
    ],
)
def test_names_of_letters_and_of_other_scripts_are_seen(name, text):
    assert names_of((name,), "object").find_exact(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("Van Gogh", "Van Gogh style"), "a landscape in the style of Claude Monet"),
        (("Van Gogh", "the Dutch painter"), "a painter at an easel"),
        (("watercolor painting",), "an oil painting of a harbour"),
        (("Grant Wood",), "a cabin at the edge of a wood"),
        (("Jack Black",), "a man in a black jacket"),
        (("Mucha",), "not much to see"),
        (("Diego Rivera",), "a river in spring"),
        (("Jan Steen",), "a ship seen from afar"),
        (("Braque",), "a barque under sail"),
        (("Winslow Homer",), "a home by the sea"),
    ],
)
def test_common_words_are_no_names(names, text):
    assert not names_of(names, "style").find_close(text)


def test_a_slip_is_told_from_a_name_beside_it():
    musk = names_of(("Elon Musk", "Musk", "Elon"), "identity")
    assert musk.find_misspelt("a portrait of Elon Musck") == "Elon Musk"
    assert musk.find_misspelt("a portrait of Musck") is None  # four letters have no slips
    assert musk.has_lookalike("a portrait of Еlon Musk")
    gogh = names_of(("Van Gogh", "Vincent", "Vincent van Gogh"), "style")
    assert gogh.find_misspelt("a field by Vincent van Gough")
    assert not gogh.find_misspelt("a field by Vincent van Gogh")
    assert gogh.has_lookalike("Vincent van Gоgh")
    assert not gogh.has_lookalike("Vincent van Gogh")


def test_a_long_name_takes_no_time():
    names = names_of(tuple(" ".join("abcdefgh"[place] for place in range(8)) + str(number) for number in range(64)), "style")
    started = time.monotonic()
    for _ in range(50):
        names.find_close("a b c d e f g h " * 30)
    assert time.monotonic() - started < 30


def test_plurals_name_too():
    assert names_of(("church",), "object").find_exact("two churches")
    assert names_of(("parachute",), "object").find_exact("many parachutes")


def test_a_name_alone_is_told_from_a_name_in_a_text():
    assert VAN_GOGH.is_name("VAN GOGH")
    assert not VAN_GOGH.is_name("van gogh's ear")
