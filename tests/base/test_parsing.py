"""Damaged JSON and YAML: a ValueError of one line, whatever is wrong."""

from __future__ import annotations

import pytest

from atom_distill.base.parsing import parse_json, parse_yaml


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 50_000, "[1,]"])
def test_damaged_json(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "[" * 20_000, "a: 2001-99-99", "!!python/object:os.x {}", "? [a]: b\n: c", "\x00"),
        *('a: !!int ""', "!!bool maybe", "!!timestamp x", "&x [*x]", "&x {a: [*x]}"),
    ],
)
def test_damaged_yaml(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_yaml(text)


def test_values():
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    assert parse_yaml("a: [1, null]") == {"a": [1, None]}
    assert parse_yaml("a: &x [1]\nb: *x\nc: {<<: {d: 2}}") == {"a": [1], "b": [1], "c": {"d": 2}}
    assert parse_yaml("") is None
