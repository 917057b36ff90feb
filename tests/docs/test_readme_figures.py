"""The figures of the README are those of the files of results."""

from __future__ import annotations

import json
import math
import re
import statistics
from typing import Any

import pytest

from docs.pages import ROOT

README = (ROOT / "README.md").read_text("utf-8")
ENTRIES = json.loads((ROOT / "results" / "frontier.json").read_text("utf-8"))["entries"]
ROWS = re.findall(r"^\| \d+, at [^|]+\| ([\d,]+) \| ([^|]+) \|([^|]*)\|", README, re.MULTILINE)


def best(size: int) -> dict[str, Any] | None:
    """The score of the preset best at a size: that by dm, or else by quick, perhaps of fewer epochs."""
    mine = [each for each in ENTRIES if (each["run"], each["arch"]) == (f"best-{size}", "convnet")]
    for protocol in (r"dm", r"quick", r"quick\(epochs=\d+\)"):
        for entry in mine:
            if re.fullmatch(protocol, entry["protocol"]):
                return entry
    return None


def test_the_table_has_all_sizes():
    assert [int(size.replace(",", "")) for size, _, _ in ROWS] == [3072, 12288, 30720, 122880, 153600, 614400]


@pytest.mark.parametrize(("size", "ours", "minutes"), ROWS)
def test_a_row_is_the_newest_figure(size, ours, minutes):
    entry = best(int(size.replace(",", "")))
    if entry is None:
        assert (ours.strip(), minutes.strip()) == ("-", "")
        return
    assert ours.strip() == f"**{entry['mean']:.1f}**"
    assert int(minutes) == round((entry["run_seconds"] + entry["pool_seconds"]) / 60)


def test_the_verdict_on_the_papers_method_is_that_of_its_table():
    cells = json.loads((ROOT / "results" / "tables" / "table1.json").read_text("utf-8"))["cells"]
    of = {cell["row"]: cell["runs"] for cell in cells if cell["column"] == "cifar10 ipc 1 zca"}
    atom, dm = of["atom"], of["dm"]
    error = math.sqrt(sum(statistics.variance(runs) / len(runs) for runs in (atom, dm)))
    assert f"{statistics.fmean(atom):.1f} ± {statistics.stdev(atom):.1f} %" in README
    assert f"{statistics.fmean(atom) - statistics.fmean(dm):.1f} ± {error:.1f} points" in README


def test_the_sets_that_come_along_are_named():
    text = (ROOT / "docs" / "index.md").read_text("utf-8")
    (told,) = re.findall(r"^They are (.*?)\. `atom sets`", text, re.MULTILINE)
    folders = [path.name for path in (ROOT / "src" / "atom_distill" / "sets").iterdir() if path.is_dir()]
    assert sorted(re.findall(r"`(.*?)`", told)) == sorted(folders)
