"""The page on performance shows what the committed benchmark of growth says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOUND = json.loads((ROOT / "results" / "benchmark-scaling-cpu.json").read_text())
PAGE = (ROOT / "docs" / "performance.md").read_text()


@pytest.mark.parametrize(
    ("axis", "field"), [("classes", "classes"), ("pixels", "size"), ("ipc", "ipc"), ("ranks", "ranks")]
)
def test_each_axis_is_in_the_page_with_the_slope_of_its_rows(axis, field):
    rows = FOUND["axes"][axis]["rows"]
    for row in rows:
        assert f"| {row[field]} | {row['seconds']:.3f} | {row['peak_mb']:.0f} |" in PAGE
    power = 2 if axis == "pixels" else 1
    slope = np.polyfit([power * math.log(row[field]) for row in rows], [math.log(row["seconds"]) for row in rows], 1)[0]
    assert f"Time grows with {axis} to the power of {slope:.2f}." in PAGE


def test_the_command_and_the_commit_are_named():
    assert f"at commit `{FOUND['record']['commit']}`" in PAGE
