"""What names a target, what comes close to it, and what only looks like it."""

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
    assert VAN_GOGH.plainly_in(text)
    assert VAN_GOGH.close_in(text)


@pytest.mark.parametrize(
    "text",
    ["by van gohg", "by van goth", "by van goghh", "a Gogh sky", "a Goghian field", "van goghesque", "в духе Винсента Ван Гога"],
)
def test_what_comes_close_is_close_and_not_plain(text):
    assert not VAN_GOGH.plainly_in(text)
    assert VAN_GOGH.close_in(text)


@pytest.mark.parametrize(
    "text", ["", "a cargo van going uphill", "a van at the Gotham bridge", "a goth van", "swirling sky, 1889"]
)
def test_other_words_are_not_taken_for_the_name(text):
    assert not VAN_GOGH.close_in(text)


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
    assert not names_of((name,), kind).plainly_in(other)
    assert not names_of((name,), kind).close_in(other)


def test_plurals_name_too():
    assert names_of(("church",), "object").plainly_in("two churches")
    assert names_of(("parachute",), "object").plainly_in("many parachutes")


def test_a_name_alone_is_told_from_a_name_in_a_text():
    assert VAN_GOGH.is_one("VAN GOGH")
    assert not VAN_GOGH.is_one("van gogh's ear")
