"""Text in terminal columns: wide and combining characters, long words, cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit._util.terminal import display_width, padded, shortened, wrapped


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("梵高", 4), ("e\u0301", 1), ("ｗide", 5), ("\x1b[2J", 0)])
def test_columns_are_counted_as_a_terminal_shows_them(text, columns):
    assert display_width(text) == columns


def test_lines_keep_to_the_columns():
    assert wrapped("one two three", 9, "- ", "  ") == ["- one two", "  three"]
    assert wrapped("梵高的星空 is a painting", 10) == ["梵高的星空", "is a", "painting"]
    assert wrapped("a well-known name", 10) == ["a", "well-known", "name"]
    assert wrapped("", 10, "label ") == ["label "]


def test_a_cut_text_ends_in_an_ellipsis():
    assert shortened("a short text", 12) == "a short text"
    assert shortened("a short text", 8) == "a short…"
    assert shortened("梵高的星空", 6) == "梵高…"
    assert padded("梵高", 6) == "梵高  "
    assert padded("long", 2) == "long"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn"]), max_size=60), st.integers(8, 40))
def test_no_line_is_wider_than_asked(text, columns):
    assert all(display_width(line) <= columns for line in wrapped(text, columns, "x ", "  "))
    assert display_width(shortened(text, columns)) <= columns
