"""The benchmark that compares two protocols, on three small sets."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from scipy import stats

from atom_distill.cli.main import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return runpy.run_path(str(ROOT / "benchmarks" / "quick_protocol.py"))


@pytest.mark.slow
def test_it_scores_sets_with_both_protocols(benchmark, monkeypatch, tmp_path, capsys):
    runs = [tmp_path / str(seed) for seed in range(3)]
    for seed, run in enumerate(runs):
        settings = f"--ipc 1 --method random --preprocess normalize --seed {seed} --device cpu"
        assert main(f"distill digits {settings} --out {run}".split()) == 0
    options = ["--networks", "1", "--epochs-scale", "0.015", "--json", str(tmp_path / "result.json")]
    monkeypatch.setattr(sys, "argv", ["quick_protocol.py", *map(str, runs), *options])
    benchmark["main"]()
    assert "| dm % | quick % |" in capsys.readouterr().out
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["case"]["protocols"] == ["dm(epochs=15)", "quick(epochs=3)"]
    pairs = [[row[name] for row in found["sets"]] for name in ("dm", "quick")]
    assert found["spearman"] == pytest.approx(stats.spearmanr(*pairs).statistic)
