"""The commands of all tables in docs/reproducing.md list as many cells as the comments above them say."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from atom_distill.cli.main import main
from docs.pages import ROOT, blocks_of
from docs.running import check_options

PAGE = ROOT / "docs" / "reproducing.md"
LISTED = [block.text for block in blocks_of(PAGE.read_text("utf-8")) if block.language == "text"]
COMMANDS = [line for text in LISTED for line in text.splitlines() if line.startswith("atom reproduce")]
COUNTS = [int(count) for text in LISTED for count in re.findall(r"(\d+) cells?,", text)]


def listed(line: str, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    main([*shlex.split(line)[1:], "--dry-run", "--json"])
    return json.loads(capsys.readouterr().out)["cells"]


def test_every_command_has_the_cells_that_are_told(capsys):
    assert [len(listed(line, capsys)) for line in COMMANDS] == COUNTS


def test_they_cover_the_data_sets_norms_and_tables(capsys):
    cells = [(line.split()[2], cell) for line in COMMANDS for cell in listed(line, capsys)]
    assert {table for table, _ in cells} == {
        *("table1", "cross-arch", "components", "powers", "lambda", "changes", "curve", "cost"),
    }
    for dataset in ("cifar10", "cifar100", "tiny-imagenet"):
        atoms = {cell["ipc"] for table, cell in cells if table == "table1" and cell["dataset"] == dataset}
        assert atoms == {1, 10, 50}
    assert {cell["ipc"] for table, cell in cells if table == "table1" and cell.get("norm") == "batch"} == {10, 50}
    best = [cell for table, cell in cells if table == "cross-arch" and cell["row"] == "best"]
    assert [(cell["preset"], cell["ipc"]) for cell in best] == [("best", 50)] * 5


def test_the_other_commands_have_their_options():
    others = [line for text in LISTED for line in text.splitlines() if line.startswith(("atom distill", "atom search"))]
    assert len(others) == 5
    for line in others:
        check_options(shlex.split(line)[1:])
