"""Tables for people, in terminals of any width."""

from __future__ import annotations

import pytest

from atom_distill.cli.output import print_table


@pytest.mark.parametrize("width", ["20", "80", "200"])
def test_a_table_has_all_its_columns_in_any_terminal(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    columns = ["proxy", "accuracy", "Spearman", "over the best tenth", "seconds", "parameters", "failed"]
    print_table("search", columns, [["a-name-of-a-proxy-set", "12.3", "0.81", "0.42", "1234", "5678901", "7"]])
    shown = capsys.readouterr().out
    assert all(word in shown for column in columns for word in column.split())
    assert all(value in shown for value in ("a-name-of-a-proxy-set", "12.3", "0.81", "0.42", "1234", "5678901"))
