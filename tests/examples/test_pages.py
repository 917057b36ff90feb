"""The pages of the examples show the tables of their files of results."""

from __future__ import annotations

import json
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "rank_training_settings": "training-settings",
    "warm_start": "warm-start",
    "continual_learning": "continual-learning",
}


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_the_page_has_the_table_and_the_command_of_its_figures(name, page):
    example = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
    results = json.loads((ROOT / "results" / f"{page}.json").read_text("utf-8"))
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert example["table"](example["compare"](results["measured"])) in text
    words = shlex.split(results["record"]["command"])
    if "--out" in words:
        place = words.index("--out")
        assert words[place + 1] == f"results/{page}.json"
        del words[place : place + 2]
    assert f"`{shlex.join(words)}`" in text
    assert results["record"]["machine"] in text
