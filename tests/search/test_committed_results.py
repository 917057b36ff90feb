"""The page on architecture search shows what the committed results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atom_distill.base import markdown
from atom_distill.search.search_report import HEADER, rows
from atom_distill.search.search_result import ProxyQuality

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results" / "search").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_table_of_each_search_is_in_the_page(path):
    found = json.loads(path.read_text())
    table = markdown.table(HEADER, rows([ProxyQuality.model_validate(one) for one in found["verdicts"]]))
    page = (ROOT / "docs" / "search.md").read_text()
    assert table in page
    assert path.name in page
    assert found["record"]["command"] in page
    assert f"commit {found['record']['commit']}" in page
