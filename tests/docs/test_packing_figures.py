"""The table of packed sizes is that of the file of results."""

from __future__ import annotations

import json
import re

from docs.pages import ROOT

ROW = re.compile(r"^\| ([\w-]+) \| (\d+) % \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+) % \|$", re.MULTILINE)


def test_the_table_is_that_of_the_file():
    rows = json.loads((ROOT / "results" / "packing.json").read_text("utf-8"))["rows"]
    told = ROW.findall((ROOT / "docs" / "frontier.md").read_text("utf-8"))
    assert told == [
        (
            row["set"],
            f"{100 * (1 - row['zeros']):.0f}",
            *(f"{row[name]:,}" for name in ("lzma2", "entropy", "packed")),
            f"{100 * (1 - row['packed'] / row['lzma2']):.0f}",
        )
        for row in rows
    ]
