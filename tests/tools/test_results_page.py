"""The page of results and its figures, from files of results."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import results_page as module
from atom_distill.reproduce.results import Results
from atom_distill.search.search_result import Correlation
from reproduce.results_made_up import result
from results_page import results_page, write_figures
from search_section import headline, interval, load_search
from summary_table import summary_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def test_the_page_of_results_is_that_of_the_committed_files():
    assert (ROOT / "docs" / "results.md").read_text("utf-8") == results_page(RESULTS), "run `make results`"


def test_the_page_names_file_command_commit_cells_and_hours(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/atom", "reproduce", "table1"])
    (tmp_path / "tables").mkdir()
    results = Results(table="table1", remark="A remark.")
    results.add(result("atom", published=34.8).model_copy(update={"distill_seconds": 5400.0}))
    results.records[0] = results.records[0].model_copy(update={"commit": "abc1234"})
    results.save(tmp_path / "tables" / "table1.json")
    Results(table="powers").save(tmp_path / "tables" / "a.json")
    page = results_page(tmp_path)
    assert "30.0 ± 1.4 (34.8)" in page
    assert "A remark." in page
    assert "`atom reproduce table1` at commit abc1234" in page
    assert "cells: atom/cifar10 ipc 1" in page
    assert "| atom | 1.50 + 0.00 |" in page
    assert page.index("## Accuracy by method") < page.index("## ATOM by the powers")


def test_the_summary_takes_the_longest_run_at_the_papers_setting():
    found = [
        result("atom", mean=33.0),
        result("atom", "cifar10 ipc 1 zca", mean=35.0, steps=8000),
        result("atom", "cifar10 ipc 1 norm batch", mean=50.0, steps=9000, settings={"ipc": 1, "norm": "batch"}),
        result("atom", "cifar100 ipc 1", mean=51.0, steps=9000),
        result("atom", "cifar10 ipc 1 normalize", mean=52.0, steps=9000, preprocess="normalize"),
        result("dm", mean=31.0, steps=8000),
    ]
    text = summary_table(found)
    assert "| images per class | DM | ATOM | ATOM in its paper |" in text
    assert "| 1 | 31.0 ± 1.4 | 35.0 ± 1.4 | 34.8 | 8000 | 2 |" in text
    assert "| 10 | - | - | 57.9 | - | - |" in text
    assert "ATOM reaches 35.0 % at ipc 1 (paper: 34.8)" in text
    assert "at ipc 1 +4.0 ± 1.4, which may be chance" in text
    assert summary_table([one for one in found if one.row == "dm"]) == ""


def test_every_figure_of_the_page_is_drawn_and_committed(tmp_path, monkeypatch):
    drawn = []
    for name in ("plot", "scatter"):
        monkeypatch.setattr(module, name, lambda *arguments: drawn.append(arguments[-1].name))
    write_figures(RESULTS, tmp_path)
    page = results_page(RESULTS)
    assert drawn
    for name in drawn:
        assert f"(images/{name})" in page
        assert (ROOT / "docs" / "images" / name).read_bytes().startswith(b"\x89PNG")
    assert page.count("(images/") == len(drawn)


def test_a_search_says_which_correlations_may_be_equal():
    search = load_search(RESULTS / "search" / "digits.json")
    told = headline(search)
    assert "(Spearman, 48 architectures): early-stop 0.94, 95 % interval 0.89 to 0.97; " in told
    assert "within it random 0.89; below it dm 0.86, atom 0.71." in told
    assert "whole 94.4" in told


def test_the_interval_of_a_correlation():
    low, high = interval(Correlation(spearman=0.8, kendall=0.6, size=103))
    error = ((1 + 0.32) / 100) ** 0.5
    center = 0.5 * math.log(1.8 / 0.2)
    assert (math.atanh(low), math.atanh(high)) == pytest.approx((center - 1.96 * error, center + 1.96 * error))
    assert interval(Correlation(spearman=0.5, kendall=0.3, size=3)) == (-1.0, 1.0)
