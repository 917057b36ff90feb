"""Text from outside made fit to be printed."""

from __future__ import annotations

import pytest

from atom_distill.base import markdown
from atom_distill.base.plain_text import abbreviated, one_line, shortened, valid_text


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("cat 🐱, é, 漢, [bold]", "cat 🐱, é, 漢, [bold]"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31mred\x00\u2028", r"\x1b[31mred\x00\u2028"),
        ("ca\udce9", r"ca\udce9"),
    ],
)
def test_what_cannot_be_printed_becomes_an_escape(text, want):
    assert one_line(text) == want


def test_only_invalid_characters_are_changed_in_valid_text():
    assert valid_text("a\n漢") == "a\n漢"
    assert valid_text("ca\udce9\n") == "ca\\udce9\n"


@pytest.mark.parametrize(
    ("text", "most", "want"), [("abc", 3, "abc"), ("abcd", 3, "abc"), ("漢漢", 5, "漢"), ("é", 1, "")]
)
def test_no_character_is_cut_in_half(text, most, want):
    assert shortened(text, most) == want


def test_an_abbreviated_text_says_so():
    assert abbreviated("x" * 10, 10) == "x" * 10
    assert abbreviated("x" * 11, 10) == "x" * 7 + "..."


def test_a_cell_of_a_table_neither_ends_nor_escapes_itself_twice():
    assert markdown.table(["a"], [["b|c\nd"], [r"e\|f"]]).splitlines()[2:] == [r"| b\|c\nd |", r"| e\|f |"]


def test_markdown_shows_a_text_as_it_is():
    # the rules of CommonMark 0.31, section 2.4: a backslash before punctuation makes it literal
    assert markdown.escaped("<b>[x](y) `a` *b* my_pets") == r"\<b\>\[x\](y) \`a\` \*b\* my_pets"
