"""The example that ranks training settings: what it measures, keeps, and concludes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import atom_distill as ad

FILE = Path(__file__).parents[2] / "examples" / "rank_training_settings.py"
SMALL = ["--epochs", "2", "--whole-epochs", "1", "--width", "4", "--device", "cpu"]
TWO = ((0.01, "none"), (0.1, "crop_flip"))


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(FILE))


@pytest.fixture
def run(tmp_path: Path) -> str:
    digits = ad.load_dataset("digits")
    ad.distill(digits, ipc=1, method="random", out=tmp_path / "run", device="cpu", show_progress=False)
    return str(tmp_path / "run")


def measured(**means: list[float]) -> dict[str, dict[str, dict[str, Any]]]:
    seconds = {"distilled": 2.0, "random": 3.0, "early": 4.0, "whole": 60.0}
    return {
        subject: {f"setting {index}": {"mean": mean, "seconds": seconds[subject]} for index, mean in enumerate(values)}
        for subject, values in means.items()
    }


def test_twelve_settings(example):
    assert len({example["name_of"](*setting) for setting in example["SETTINGS"]}) == 12


def test_rankings_are_compared_with_the_truth(example):
    """Ranks by hand: equal, reversed, and two of four exchanged: 1 - 6 * 2 / (4 * 15) = 0.8."""
    found = example["compare"](
        measured(whole=[10, 20, 30, 40], distilled=[1, 2, 3, 4], random=[9, 8, 7, 6], early=[2, 1, 3, 4])
    )
    rows = {row["proxy"]: row for row in found}
    assert [rows[name]["spearman"] for name in ("distilled", "random", "early")] == pytest.approx([1, -1, 0.8])
    assert [rows[name]["chosen_accuracy"] for name in ("distilled", "random", "early")] == [40, 10, 40]
    assert {row["best_accuracy"] for row in found} == {40}
    assert [rows[name]["times_faster"] for name in ("distilled", "random", "early")] == [30, 20, 15]
    text = example["table"](found)
    assert "| random | -1.00 | setting 0 | 10.0 | 40.0 | 12 s | 20.0 times |" in text


def test_settings_that_are_all_equal_have_no_rank(example):
    found = example["compare"](measured(whole=[1, 2], distilled=[5, 5], random=[1, 2], early=[2, 1]))
    assert found[0]["spearman"] is None
    assert "| distilled | - |" in example["table"](found)


@pytest.mark.slow
def test_it_runs_in_small_and_continues(example, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(example, "SETTINGS", TWO)
    monkeypatch.setitem(example["main"].__globals__, "SETTINGS", TWO)
    out = tmp_path / "results.json"
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 0
    first = json.loads(out.read_text())
    assert {subject: len(found) for subject, found in first["measured"].items()} == dict.fromkeys(
        ("distilled", "random", "early", "whole"), 2
    )
    assert all(0 <= one["mean"] <= 100 for found in first["measured"].values() for one in found.values())
    assert [row["proxy"] for row in first["comparison"]] == ["distilled", "random", "early"]
    del first["measured"]["whole"]["lr 0.01, none"]
    out.write_text(json.dumps(first))
    capsys.readouterr()
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.count(" %\n") == 1  # only what the file lacked
    assert printed.out.startswith("| ranked on |")


def test_results_of_another_plan_are_kept(example, run, tmp_path, capsys):
    out = tmp_path / "results.json"
    out.write_text('{"plan": {"set": "cifar10-3072"}, "measured": {}}')
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 2
    assert "holds results of another plan: give another --out" in capsys.readouterr().err
    assert "cifar10-3072" in out.read_text()


def test_an_unknown_set_is_told(example, tmp_path, capsys):
    assert example["main"](["cifar10-1", "--out", str(tmp_path / "results.json")]) == 2
    assert "cifar10-3072" in capsys.readouterr().err
